package plugins

import (
	"net/netip"
	"time"
)

func checkPodToPod(h *host) {
	a, b := h.pair()
	for _, addr := range a.addrs() {
		peer := b.addr(addr)
		if !peer.IsValid() {
			h.Errorf("%s has %v, but %s has no address of that family", a.Pod.Name, addr, b.Pod.Name)
			continue
		}
		h.serve(a.Pod, addr)
		h.serve(b.Pod, peer)
		h.reaches(a.Pod, peer, b.Pod, addr)
		h.reaches(b.Pod, addr, a.Pod, peer)
	}
}

func checkPodToSelf(h *host) {
	a := h.connected()
	for _, addr := range a.addrs() {
		h.serve(a.Pod, addr)
		h.reaches(a.Pod, addr, a.Pod, addr)
	}
}

func checkPodToHost(h *host) {
	a := h.connected()
	here := h.here()
	for _, addr := range a.hosted() {
		for _, to := range []netip.Addr{a.gateway(addr), hostAddr(addr)} {
			if !h.routed(a.Pod, to) {
				h.Logf("%s has no route to %v, and was not told to have one", a.Pod.Name, to)
				continue
			}
			h.serve(here, to)
			h.reaches(a.Pod, to, here, addr)
		}
	}
}

func checkHostToPod(h *host) {
	a := h.connected()
	here := h.here()
	for _, addr := range a.hosted() {
		var own []netip.Addr
		for _, p := range h.held(h.links) {
			own = append(own, p.Addr())
		}
		h.serve(a.Pod, addr)
		h.reaches(here, addr, a.Pod, own...)
	}
}

// atOnce is less than the second for which duplicate detection holds packets up, or a lost
// one is not sent again; and more than a busy machine takes.
const atOnce = 700 * time.Millisecond

// checkAtOnce asks but for as long as a packet takes that nobody holds up.
func checkAtOnce(h *host) {
	a := h.connected()
	p, near := h.peer(a)
	for _, addr := range near {
		h.serve(a.Pod, addr)
		h.promptly(tcp(p, addr))
	}
	for _, addr := range a.leaving() {
		h.wayBack(addr)
		h.serve(h.outside, outsideAddr(addr))
		h.promptly(tcp(a.Pod, outsideAddr(addr)))
	}
}

func (h *host) promptly(p probe) {
	p.Patience = atOnce
	if _, err := p.ask(h.Context()); err != nil {
		h.Errorf("%v, when ADD has returned: no answer for %v: %v", p, atOnce, err)
	}
}

// leaving returns the addresses from which the pod has a way to the outside, or skips.
func (a *attachment) leaving() []netip.Addr {
	var addrs []netip.Addr
	for _, addr := range a.addrs() {
		if (local(addr) || a.gateway(addr).IsValid()) && a.h.routed(a.Pod, outsideAddr(addr)) {
			addrs = append(addrs, addr)
		}
	}
	if len(addrs) == 0 {
		a.h.Skipf("the network has no way to the outside")
	}
	return addrs
}

// checkEgress wants the pod to reach the outside. Who is seen there is another matter.
func checkEgress(h *host) {
	a := h.connected()
	for _, addr := range a.leaving() {
		h.wayBack(addr)
		h.serve(h.outside, outsideAddr(addr))
		h.reaches(a.Pod, outsideAddr(addr), h.outside)
	}
}

func checkMasquerade(h *host) {
	if !h.network.masked() {
		h.Skipf("the network does not ask for translation")
	}
	if h.network.has("except") {
		h.Skipf("the network excepts some destinations, perhaps this one")
	}
	a := h.connected()
	for _, addr := range a.leaving() {
		seen := hostAddr(addr)
		if local(addr) {
			seen = addr // its own subnet
		}
		h.serve(h.outside, outsideAddr(addr))
		h.reaches(a.Pod, outsideAddr(addr), h.outside, seen)
	}
}

func checkNoMasquerade(h *host) {
	if h.network.masked() {
		h.Skipf("the network asks for translation")
	}
	a := h.connected()
	for _, addr := range a.leaving() {
		h.wayBack(addr)
		h.serve(h.outside, outsideAddr(addr))
		h.reaches(a.Pod, outsideAddr(addr), h.outside, addr)
	}
}

// checkOutsideToPod is of a network whose pods the outside has a route to.
func checkOutsideToPod(h *host) {
	a := h.connected()
	for _, addr := range a.leaving() {
		h.wayBack(addr)
		h.serve(a.Pod, addr)
		h.reaches(h.outside, addr, a.Pod, outsideAddr(addr))
	}
}

// checkSecondNetwork lets another network come and go beside the pods of the first.
func checkSecondNetwork(h *host) {
	if reason := h.network.one(); reason != "" {
		h.Skipf("%s", reason)
	}
	a := h.connected()
	other := h.another()
	p, near := h.peer(a)
	try := func(when string) {
		for _, addr := range near {
			if !h.reaches(p, addr, a.Pod) {
				h.Logf("that was %s", when)
			}
		}
	}
	for _, addr := range near {
		h.serve(a.Pod, addr)
	}
	try("before another network came")
	b := other.attach(h.pod())
	try("after ADD of another network")
	b.detach()
	try("after DEL of another network")
}

// peer returns a place that should reach the attachment: the host, a neighbour or the
// outside; and the addresses at which. Without any it skips the check.
func (h *host) peer(a *attachment) (*pod, []netip.Addr) {
	var hosted, neighbours []netip.Addr
	for _, addr := range a.addrs() {
		switch {
		case a.gateway(addr).IsValid():
			hosted = append(hosted, addr)
		case local(addr):
			neighbours = append(neighbours, addr)
		}
	}
	switch {
	case len(hosted) > 0:
		return h.here(), hosted
	case len(neighbours) > 0:
		return h.outside, neighbours
	}
	for _, reason := range []string{h.network.one(), h.network.apart()} {
		if reason != "" {
			h.Skipf("nobody is there to reach the pod: the host is not its gateway, and %s", reason)
		}
	}
	return h.connected().Pod, a.addrs()
}
