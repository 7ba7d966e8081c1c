package plugins

import (
	"encoding/json"
	"time"

	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/conformance"
)

func collectionChecks() []check {
	return []check{
		{conformance.Check{ID: "leaks/gc-pods-died", Force: conformance.Should, Source: ofGC,
			Says: "When a dozen pods are gone without DEL, GC with an empty list succeeds and leaves nothing of them on the host."}, nil, checkPodsDied},
		{conformance.Check{ID: "leaks/gc-killed-add", Force: conformance.Should, Source: ofGC + "; " + ofKill,
			Says: "When ADD was killed and no DEL came, GC with an empty list leaves nothing of it on the host."}, nil, checkKilledCollected},
		{conformance.Check{ID: "leaks/gc-others", Force: conformance.Must, Source: ofGC,
			Says: "GC leaves what belongs to the attachments that it lists as valid."}, nil, checkGCKeepsOthers},
		{conformance.Check{ID: "leaks/gc-pool", Force: conformance.Should, Source: ofGC + " (IPAM reservations)",
			Says: "After GC with an empty list the addresses of pods that are gone can be given again."}, []Role{Interface, IPAM}, checkPoolCollected},
	}
}

// needGC skips the check for networks of versions without GC.
func (h *host) needGC() {
	if ok, err := wire.AtLeast(h.network.Version, "1.1.0"); err != nil || !ok {
		h.Skipf("the network is of version %s; GC is of 1.1.0", h.network.Version)
	}
}

// collect runs GC of the whole chain; valid are the attachments that there still are. An
// error is told.
func (h *host) collect(valid ...*attachment) {
	type item struct {
		ContainerID string `json:"containerID"`
		IfName      string `json:"ifname"`
	}
	items := make([]item, 0, len(valid))
	for _, a := range valid {
		items = append(items, item{a.ID, a.IfName})
	}
	list, err := json.Marshal(items)
	h.Must(err)
	for _, m := range h.network.Members {
		conf, err := wire.Compose(m.Conf.Bytes(), h.network.Name, h.network.Version, nil)
		h.Must(err)
		o, err := wire.ParseObject(conf.JSON)
		h.Must(err)
		o.Set("cni.dev/valid-attachments", list)
		o.Set("cni.dev/attachments", list) // its name in the text of the tag
		answer := h.run(m, call{Verb: "GC", Path: h.path(), Stdin: o.Bytes()})
		if err := answer.err(); err != nil {
			h.Errorf("GC of %s: %v", m.Type, err)
		}
	}
}

const dozen = 12

// die ends the pods of attachments, of which nothing is told to the plugins.
func (h *host) die(all []*attachment) {
	h.removeAll(all)
	h.restoreSpare()
}

// some attaches that many pods at a time, or one where there is only one, or ends the check.
func (h *host) some(count int) []*attachment {
	if h.network.lends() {
		count = 1
	}
	all := h.crowd(count)
	h.together(all, (*attachment).add)
	if h.Failed() {
		h.Fatalf("without all of them there is nothing to be seen")
	}
	return all
}

func checkPodsDied(h *host) {
	h.needGC()
	h.needRoom(dozen)
	h.die(h.some(1))
	h.collect()
	before := h.footprint()
	all := h.some(dozen)
	h.die(all)
	h.collect()
	h.compare(comparison{what: "after GC", before: before, of: all})
}

func checkKilledCollected(h *host) {
	h.needGC()
	h.needRoom(kills)
	k := killing{verb: "ADD"}
	victims := h.victims()
	durations := k.measure(h, victims)
	h.die(h.some(1))
	h.collect()
	before := h.footprint()
	var all []*attachment
	for begun, n := time.Now(), 0; n < kills && time.Since(begun) < killLimit; n++ {
		victim := n % len(victims)
		a := h.equipped(h.pod())
		h.carry(a, victims[victim], k.verb, func(c call) time.Duration {
			h.kill(victims[victim], c, durations[victim]*time.Duration(2*n+1)/(2*kills))
			return 0
		})
		all = append(all, a)
		h.remove(a.Pod)
		h.restoreSpare()
	}
	h.collect()
	h.compare(comparison{what: "after ADD was killed, without DEL, and GC", before: before, of: all})
}

// checkGCKeepsOthers collects one of two attachments, and then none.
func checkGCKeepsOthers(h *host) {
	h.needGC()
	h.die(h.some(1))
	h.collect()
	valid := h.some(2)
	before := h.footprint()
	inside := h.inside(valid[0].Pod)
	if !h.network.lends() {
		h.die(h.some(1))
	}
	h.collect(valid...)
	if now := h.footprint(); len(before.since(now, false)) > 0 {
		h.tell("what valid attachments had, after GC (left: it is missing)", before.since(now, false))
	}
	h.tell("in the pod of a valid attachment, after GC", h.inside(valid[0].Pod).since(inside, true))
	for _, a := range valid {
		a.detach()
	}
}

func checkPoolCollected(h *host) {
	h.needGC()
	h.narrow(poolSize)
	for range 2 {
		all := h.some(poolSize)
		h.die(all)
		h.collect()
		if h.Failed() {
			return
		}
	}
}
