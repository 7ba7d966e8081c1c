package plugins

import (
	"encoding/json"
	"strings"

	"github.com/seamnet/seam/cni/wire"
)

// The keys of the list of attachments that are still valid. The second is that of the tag
// spec-v1.1.0, which the text corrected later.
const (
	validKey    = "cni.dev/valid-attachments"
	oldValidKey = "cni.dev/attachments"
)

func gcChecks() []check {
	return []check{
		{must("gc", specGC, "GC succeeds with no variables but CNI_COMMAND and CNI_PATH, also where nothing was made."), nil, each(checkGC)},
		{should("gc-silent", specGC, "GC that succeeds prints nothing on stdout."), nil, each(silent("GC"))},
		{must("gc-keeps-valid", specGC, "GC leaves an attachment whole that is in the list of valid ones."), nil, keeps(validKey)},
		{open("gc-keeps-valid-old-key", "practice: runtimes also write the key of the first text of 1.1.0", "GC reads the list of valid attachments by its former key, too."), nil, keeps(oldValidKey)},
		{should("gc-no-list", "practice: a runtime without a list sends none", "GC without a list of valid attachments removes nothing, or is refused."), nil, each(checkGCNoList)},
		{must("gc-other-network", specGC, "GC leaves an attachment of another network whole."), nil, each(checkGCOtherNetwork)},
		{should("gc-again", specGC, "GC may be called again, and succeeds."), nil, each(checkGCAgain)},
		{should("gc-dead", specGC, "GC succeeds for an attachment whose namespace is gone."), nil, each(checkGCDead)},
		{should("gc-lease", specGC, "GC has the reservation of addresses released that no valid attachment holds."), []Role{Interface}, each(checkGCLease)},
		{must("gc-other-interface", specGC, "GC leaves an interface whole that is in the list of valid ones, though another of the same container is not."), nil, each(checkGCOther)},
		{should("gc-other-interface-lease", specGC, "GC tells interfaces of one container apart: it releases what one of them holds that is not in the list."), []Role{Interface}, each(checkGCOtherLease)},
		{should("gc-firewall", specGC, "GC removes the firewall rules of an attachment that is not valid."), []Role{Interface, Chained}, each(checkGCFirewall)},
		{must("gc-then-del", "CNI 1.1.0, section 2, DEL", "DEL after GC has removed an attachment succeeds."), nil, each(checkGCThenDel)},
	}
}

// valid returns what puts a list of valid attachments into a configuration, by both keys.
func valid(list ...*trial) func(o *wire.Object) {
	return func(o *wire.Object) {
		validBy(validKey, list...)(o)
		validBy(oldValidKey, list...)(o)
	}
}

func validBy(key string, list ...*trial) func(o *wire.Object) {
	type item struct {
		ContainerID string `json:"containerID"`
		IfName      string `json:"ifname"`
	}
	items := []item{}
	for _, t := range list {
		items = append(items, item{t.ID, t.IfName})
	}
	data, _ := json.Marshal(items) // strings always have a JSON form
	return func(o *wire.Object) { o.Set(key, data) }
}

// collect runs GC.
func (t *trial) collect(change func(o *wire.Object)) answer { return t.h.run(t.m, t.of("GC", change)) }

func checkGC(t *trial) {
	t.needs("1.1.0")
	t.works("GC", t.collect(valid()))
}

// collectable ends the check unless the plugin speaks 1.1.0 and its CHECK works.
func (t *trial) collectable() {
	t.needs("1.1.0")
	t.checks()
}

// keeps returns the check that GC with a list by that key harms none of it.
func keeps(key string) func(h *host) {
	return each(func(t *trial) {
		t.collectable()
		before := t.things()
		t.works("GC", t.collect(validBy(key, t)))
		t.whole("GC with the attachment in "+key, before)
	})
}

// whole tells if something of the attachment is gone.
func (t *trial) whole(what string, before []string) {
	t.works("CHECK after "+what, t.run("CHECK", t.Raw))
	have := strings.Join(t.things(), "\n") + "\n"
	for _, thing := range before {
		if !strings.Contains(have, thing+"\n") {
			t.h.Errorf("%s: %s: %s is gone", t.m.Type, what, thing)
		}
	}
}

func checkGCNoList(t *trial) {
	t.collectable()
	before := t.things()
	t.collect(nothing)
	t.whole("GC without a list", before)
}

func checkGCOtherNetwork(t *trial) {
	t.collectable()
	before := t.things()
	t.collect(func(o *wire.Object) {
		valid()(o)
		o.SetString("name", t.h.network.Name+"-2")
	})
	t.whole("GC of another network", before)
}

func checkGCAgain(t *trial) {
	t.needs("1.1.0")
	t.add()
	if a := t.collect(valid()); a.Exit != 0 {
		t.skip("%s: its GC does not work: %v", t.m.Type, a)
	}
	t.works("a second GC", t.collect(valid()))
}

func checkGCDead(t *trial) {
	t.needs("1.1.0")
	t.add()
	t.h.remove(t.Pod)
	t.works("GC, the namespace gone", t.collect(valid()))
}

func checkGCLease(t *trial) {
	t.collectable()
	m := t.ipam()
	if a := t.h.run(m, t.call("CHECK", m, t.Raw)); a.Exit != 0 {
		t.skip("%s: its CHECK does not work: %v", m.Type, a)
	}
	t.collect(valid())
	kept := t.h.run(m, t.call("CHECK", m, t.Raw))
	t.release() // or skips the check
	if kept.Exit == 0 {
		t.h.Errorf("%s: GC with an empty list: the addresses are still reserved by %s", t.m.Type, m.Type)
	}
}

func checkGCOther(t *trial) {
	t.collectable()
	before := t.things()
	t.second()
	t.collect(valid(t))
	t.whole("GC with one of two interfaces in the list", before)
}

func checkGCOtherLease(t *trial) {
	t.collectable()
	m := t.ipam()
	other := t.second()
	t.collect(valid(t))
	kept := t.h.run(m, other.call("CHECK", m, other.Raw))
	other.release() // or skips the check
	if kept.Exit == 0 {
		t.h.Errorf("%s: GC with one of two interfaces in the list: the other's addresses are still reserved by %s", t.m.Type, m.Type)
	}
}

// checkGCFirewall goes by the rules and elements that hold an address of the attachment, or
// its container's ID.
func checkGCFirewall(t *trial) {
	t.needs("1.1.0")
	before := t.ruleset()
	t.add()
	made := t.mine(before)
	if len(made) == 0 {
		t.skip("%s makes no firewall rules for the attachment", t.m.Type)
	}
	t.works("GC", t.collect(valid()))
	if left := t.mine(before); len(left) > 0 {
		t.h.Errorf("%s: GC with an empty list: %d of %d lines of the firewall are left: %s", t.m.Type, len(left), len(made), strings.Join(left, "; "))
	}
}

// mine returns the lines of the ruleset that are the attachment's and came after before.
func (t *trial) mine(before string) []string {
	var lines []string
	for line := range strings.Lines(t.ruleset()) {
		line = strings.TrimSpace(line)
		for _, word := range append(resultAddresses(t.Result), t.ID) {
			if strings.Contains(line, word) && !strings.Contains(before, line) {
				lines = append(lines, line)
				break
			}
		}
	}
	return lines
}

func checkGCThenDel(t *trial) {
	t.needs("1.1.0")
	t.add()
	if a := t.collect(valid()); a.Exit != 0 {
		t.skip("%s: its GC does not work: %v", t.m.Type, a)
	}
	t.works("DEL after GC", t.run("DEL", t.Raw))
}
