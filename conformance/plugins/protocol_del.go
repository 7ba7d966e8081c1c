package plugins

import (
	"encoding/json"
	"errors"
	"io/fs"

	"github.com/seamnet/seam/cni/wire"
)

func delChecks() []check {
	const bestEffort = specDEL
	return []check{
		{must("del", specDEL, "DEL after ADD succeeds."), nil, delAfter(nil)},
		{must("del-interface", specDEL, "DEL takes the interface out of the pod."), []Role{Interface}, each(checkDelInterface)},
		{should("del-silent", "practice: what is printed is a result", "DEL that succeeds prints nothing on stdout."), nil, each(silent("DEL"))},
		{must("del-twice", specDEL, "DEL may be called again for what is gone already, and succeeds."), nil, each(checkDelTwice)},
		{must("del-never-added", specDEL, "DEL for what was never made succeeds."), nil, each(checkDelNeverAdded)},
		{must("del-interface-gone", specDEL, "DEL succeeds if the interface is gone from the pod."), nil, each(checkDelInterfaceGone)},
		{should("del-namespace-gone", bestEffort, "DEL succeeds if the namespace is gone."), nil, each(checkDelNamespaceGone)},
		{should("del-no-namespace", bestEffort, "DEL succeeds without CNI_NETNS."), nil, delAfter(func(_ *trial, c *call) { c.NetNS = "" })},
		{should("del-no-prev-result", bestEffort, "DEL succeeds without a previous result."), nil, delWith(func(o *wire.Object) { o.Delete("prevResult") })},
		{should("del-nothing-known", "practice: the runtime's own cache was lost", "DEL succeeds without namespace, previous result and capability arguments."), nil, delAfter(func(t *trial, c *call) {
			c.NetNS, c.Args = "", ""
			c.Stdin = t.changed(c.Stdin, func(o *wire.Object) { o.Delete("prevResult", "runtimeConfig", "args") })
		})},
		{must("del-other-interface", "CNI 1.1.0, section 3", "DEL of one interface leaves another one of the same container and network whole."), nil, each(checkDelOther)},
		{open("del-broken-prev-result", bestEffort, "DEL succeeds though the previous result cannot be read."), nil, delWith(func(o *wire.Object) { o.Set("prevResult", json.RawMessage(`{"cniVersion":"1.0.0","ips":"none"}`)) })},
		{open("del-changed-config", bestEffort, "DEL succeeds though the plugin's own keys have become others."), nil, each(checkDelChanged)},
	}
}

// delAfter returns the check that a DEL, changed unless change is nil, works after ADD.
func delAfter(change func(t *trial, c *call)) func(h *host) {
	return each(func(t *trial) {
		t.add()
		c := t.call("DEL", t.m, t.Raw)
		if change != nil {
			change(t, &c)
		}
		t.works("DEL", t.h.run(t.m, c))
	})
}

func delWith(change func(o *wire.Object)) func(h *host) {
	return delAfter(func(t *trial, c *call) { c.Stdin = t.changed(c.Stdin, change) })
}

func checkDelInterface(t *trial) {
	if t.loopback() {
		t.skip("lo stays")
	}
	t.add()
	if a := t.run("DEL", t.Raw); a.Exit != 0 {
		t.skip("%s: its DEL does not work: %v", t.m.Type, a)
	}
	if _, err := t.Pod.links.ByName(t.IfName); !errors.Is(err, fs.ErrNotExist) {
		t.h.Errorf("%s: DEL: want no interface %s in the pod: it is there (%v)", t.m.Type, t.IfName, err)
	}
}

// silent returns what tells if a verb that succeeds prints something.
func silent(verb string) func(t *trial) {
	return func(t *trial) {
		var a answer
		switch verb {
		case "STATUS":
			t.needs("1.1.0")
			a = t.h.run(t.m, t.of(verb, nothing))
		case "GC":
			t.needs("1.1.0")
			a = t.h.run(t.m, t.of(verb, valid()))
		default:
			t.add()
			a = t.run(verb, t.Raw)
		}
		if a.Exit == 0 && a.Stdout != "" {
			t.h.Errorf("%s: %s: want nothing on stdout: %v", t.m.Type, verb, a)
		}
	}
}

func nothing(*wire.Object) {}

func checkDelTwice(t *trial) {
	t.add()
	if a := t.run("DEL", t.Raw); a.Exit != 0 {
		t.skip("%s: its DEL does not work: %v", t.m.Type, a)
	}
	t.works("a second DEL", t.run("DEL", t.Raw))
}

func checkDelNeverAdded(t *trial) { t.works("DEL without ADD", t.run("DEL", t.prev)) }

func checkDelOther(t *trial) {
	t.checks()
	before := t.things()
	other := t.second()
	t.works("DEL of "+other.IfName+", "+t.IfName+" being there", other.run("DEL", other.Raw))
	t.whole("DEL of "+other.IfName, before)
}

func checkDelInterfaceGone(t *trial) {
	if t.loopback() {
		t.skip("nobody can take lo away")
	}
	t.add()
	t.lose()
	t.works("DEL, the interface gone", t.run("DEL", t.Raw))
}

// lose takes the interface out of the pod, as a person may.
func (t *trial) lose() {
	l, err := t.Pod.links.ByName(t.IfName)
	if errors.Is(err, fs.ErrNotExist) { // a plugin for addresses has none
		return
	}
	t.h.Must(err)
	t.h.Must(t.Pod.links.Delete(l.Name))
}

func checkDelNamespaceGone(t *trial) {
	t.add()
	t.h.remove(t.Pod)
	t.works("DEL, the namespace gone", t.run("DEL", t.Raw))
}

// checkDelChanged calls DEL with nothing of the plugin's own but what names it, and the
// type of what it delegates to.
func checkDelChanged(t *trial) {
	t.add()
	c := t.with("DEL", t.Raw, func(o *wire.Object) {
		for _, key := range o.Keys() {
			switch key {
			case "cniVersion", "name", "type", "prevResult":
			case "ipam":
				ipam, _ := json.Marshal(map[string]string{"type": ipamOf(t.m.Conf)})
				o.Set(key, ipam)
			default:
				o.Delete(key)
			}
		}
	})
	t.works("DEL with all other keys gone", t.h.run(t.m, c))
}
