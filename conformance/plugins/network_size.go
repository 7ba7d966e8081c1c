package plugins

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/seamnet/seam/link"
)

// headers is how much of a packet is not a UDP datagram's text.
func headers(addr netip.Addr) int {
	if addr.Is4() {
		return 20 + 8
	}
	return 40 + 8
}

// checkMTU sends what fills a packet, not to be fragmented; the answer is as long.
func checkMTU(h *host) {
	a := h.connected()
	l, err := a.Pod.links.ByName(a.IfName)
	h.Must(err)
	p, near := h.peer(a)
	for _, addr := range near {
		if addr.Is6() && l.MTU < link.SmallestIPv6 {
			continue
		}
		h.serve(a.Pod, addr)
		h.answers(probe{From: p, Protocol: "udp", To: netip.AddrPortFrom(addr, probePort), Size: l.MTU - headers(addr)}, a.Pod)
	}
	cable, err := h.links.ByName(Uplink)
	h.Must(err)
	for _, addr := range a.leaving() {
		to := outsideAddr(addr)
		h.wayBack(addr)
		h.serve(h.outside, to)
		size := min(l.MTU, cable.MTU) - headers(addr)
		h.answers(probe{From: a.Pod, Protocol: "udp", To: netip.AddrPortFrom(to, probePort), Size: size}, h.outside)
	}
}

// checkPathMTU makes the host's end of the cable narrower than the pod's interface, and
// nothing that a handshake would tell of: the host must say so, and be heard.
func checkPathMTU(h *host) {
	const narrow, bytes = 1300, 256 << 10
	a := h.connected()
	for _, addr := range a.leaving() {
		if local(addr) {
			h.Skipf("no router is between the pod and the outside")
		}
		h.wayBack(addr)
		h.serve(h.outside, outsideAddr(addr))
		p := tcp(a.Pod, outsideAddr(addr))
		if !h.answers(p, h.outside) {
			continue
		}
		h.Must(h.links.Set(link.Link{Name: Uplink}, link.Change{MTU: narrow}))
		if _, err := p.send(h.Context(), bytes); err != nil {
			h.Errorf("%v, over a link of MTU %d: %v", p, narrow, err)
		}
	}
}

// transfer sends n bytes there and as many back.
func (h *host) transfer(p probe, to *pod, n int64) {
	if !h.answers(p, to) {
		return
	}
	if _, err := p.send(h.Context(), n); err != nil {
		h.Errorf("%v: %v", p, err)
		return
	}
	if _, err := p.fetch(h.Context(), n); err != nil {
		h.Errorf("%v, and back: %v", p, err)
	}
}

func checkTransfer(h *host) {
	const bytes = 8 << 20
	a := h.connected()
	p, near := h.peer(a)
	for _, addr := range near {
		h.serve(a.Pod, addr)
		h.transfer(probe{From: p, Protocol: "tcp", To: netip.AddrPortFrom(addr, probePort)}, a.Pod, bytes)
	}
}

// checkManyPods attaches as many as a small node has, several at a time, and lets each
// speak to the next one and to the host.
func checkManyPods(h *host) {
	const many = 30
	if reason := h.network.one(); reason != "" {
		h.Skipf("%s", reason)
	}
	h.needRoom(many)
	all := h.attachMany(many)
	h.leads(all[0])
	holder := make(map[netip.Addr]*pod)
	for _, a := range all {
		for _, addr := range a.addrs() {
			if other := holder[addr]; other != nil {
				h.Fatalf("%s and %s both have %v", a.Pod.Name, other.Name, addr)
			}
			holder[addr] = a.Pod
			h.serve(a.Pod, addr)
		}
	}
	apart, here := h.network.apart(), h.here()
	for i, a := range all {
		for _, addr := range a.addrs() {
			to := probe{From: a.Pod, Protocol: "tcp", To: netip.AddrPortFrom(all[(i+1)%many].addr(addr), probePort)}
			if apart == "" {
				h.answers(to, all[(i+1)%many].Pod, addr)
			}
			if gateway := a.gateway(addr); gateway.IsValid() {
				if i == 0 {
					h.serve(here, gateway)
				}
				to.To = netip.AddrPortFrom(gateway, probePort)
				h.answers(to, here, addr)
			}
		}
	}
}

// attachMany makes eth0 of n new pods, or ends the check.
func (h *host) attachMany(n int) []*attachment {
	all := make([]*attachment, n)
	for i := range all {
		all[i] = h.attachment(h.pod())
	}
	h.attachAll(all)
	return all
}

// attachAll makes them, several at a time, or ends the check.
func (h *host) attachAll(all []*attachment) {
	const atATime = 8
	errs := make([]error, len(all))
	slots := make(chan struct{}, atATime)
	var group sync.WaitGroup
	for i, a := range all {
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if err := a.add(); err != nil {
				errs[i] = fmt.Errorf("container %s: %w", a.ID, err)
			}
		})
	}
	group.Wait()
	if failed := slices.DeleteFunc(errs, func(err error) bool { return err == nil }); len(failed) > 0 {
		h.Fatalf("%d of %d, %d at a time, were not attached; one of them: %v", len(failed), len(all), atATime, failed[0])
	}
}
