package plugins

import (
	"github.com/seamnet/seam/conformance"
	"github.com/seamnet/seam/link"
)

// A failure is a way in which ADD must fail.
type failure struct {
	name, when string
	// arrange prepares the host; what it returns makes the attachments whose ADD fails.
	arrange func(h *host) func() *attachment
}

func failures() []failure {
	return []failure{
		{"exhausted", "all addresses are taken", arrangeExhausted},
		{"bad-address", "an address is asked for that is in no range", arrangeBadAddress},
		{"interface-there", "the pod has an interface of that name", arrangeInterface},
	}
}

func failureChecks() []check {
	var all []check
	for _, f := range failures() {
		all = append(all,
			check{conformance.Check{ID: "leaks/add-" + f.name, Force: conformance.Should, Source: "practice: a runtime that is killed in between calls no DEL",
				Says: "An ADD that fails because " + f.when + " leaves nothing on the host."}, []Role{Interface, IPAM}, func(h *host) { f.check(h, false) }},
			check{conformance.Check{ID: "leaks/add-" + f.name + "-del", Force: conformance.Must, Source: ofDEL,
				Says: "DEL after an ADD that failed because " + f.when + " succeeds, and nothing is left on the host."}, []Role{Interface, IPAM}, func(h *host) { f.check(h, true) }})
	}
	return append(all, check{conformance.Check{ID: "leaks/add-broken-off", Force: conformance.Should, Source: "CNI 1.1.0, section 3, a failed ADD is followed by DEL of all plugins",
		Says: "When an ADD was broken off before some plugin of the chain, DEL of all of them, without a result, leaves nothing on the host."}, nil, checkBrokenOff})
}

func (f failure) check(h *host, del bool) {
	next := f.arrange(h)
	fail := func() *attachment {
		a := next()
		if err := a.add(); err == nil {
			h.Skipf("ADD does not fail")
		}
		a.Raw = nil // what failed has no result
		return a
	}
	first := fail()
	if err := first.del(); err != nil && del {
		h.Errorf("%v", err)
	}
	before := h.footprint()
	a := fail()
	c := comparison{what: "after the failed ADD", before: before, of: []*attachment{a}, gone: true}
	if del {
		c.what = "after DEL"
		a.detach()
	}
	h.compare(c)
}

func arrangeExhausted(h *host) func() *attachment {
	h.narrow(1)
	holder := h.attach(h.pod())
	if len(holder.Result.IPs) == 0 {
		h.Skipf("the attachment has no address")
	}
	return func() *attachment { return h.equipped(h.pod()) }
}

func arrangeBadAddress(h *host) func() *attachment {
	h.needRanges()
	h.attach(h.pod()).detach() // what is made once is there
	return func() *attachment {
		a := h.equipped(h.pod())
		a.Args = "IgnoreUnknown=1;IP=203.0.113.77"
		return a
	}
}

func arrangeInterface(h *host) func() *attachment {
	if h.network.Members[0].Type == "loopback" {
		h.Skipf("lo is always there")
	}
	h.attach(h.pod()).detach()
	return func() *attachment {
		a := h.equipped(h.pod())
		h.Must(a.Pod.links.AddVeth(link.Veth{Name: a.IfName, PeerName: "other0"}))
		return a
	}
}

// checkBrokenOff tries all plugins at which a chain may be broken off: those from there on
// are asked to undo what they never did.
func checkBrokenOff(h *host) {
	h.attachEquipped().detach()
	for end := range h.network.Members {
		try := func() *attachment {
			a := h.equipped(h.pod())
			if err := a.addUntil(end); err != nil {
				h.Fatalf("%v", err)
			}
			a.Raw = nil
			a.detach()
			return a
		}
		try()
		before := h.footprint()
		a := try()
		h.compare(comparison{what: "ADD broken off before " + h.network.Members[end].Type + ", then DEL", before: before, of: []*attachment{a}, gone: true})
	}
}
