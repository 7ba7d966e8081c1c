package plugins

import (
	"net/netip"
	"slices"
	"sync"

	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/conformance"
)

// crowd is how many attachments come or go at a time.
const crowd = 16

func crowdChecks() []check {
	return []check{
		{conformance.Check{ID: "leaks/crowd", Force: conformance.Must, Source: ofMany,
			Says: "Sixteen pods that are attached at a time, and then detached at a time, get addresses of their own, and leave nothing."}, nil, checkCrowd},
		{conformance.Check{ID: "leaks/crowd-mixed", Force: conformance.Must, Source: ofMany,
			Says: "Pods that are attached while others are detached, sixteen at a time, leave nothing, and those that stay pass CHECK."}, nil, checkCrowdMixed},
	}
}

// together does something with all attachments at a time. The errors are told.
func (h *host) together(all []*attachment, do func(a *attachment) error) {
	var group sync.WaitGroup
	for _, a := range all {
		group.Go(func() {
			if err := do(a); err != nil {
				h.Errorf("%d at a time: %s: %v", len(all), a.ID, err)
			}
		})
	}
	group.Wait()
}

// crowd returns attachments, not yet made, of new pods.
func (h *host) crowd(count int) []*attachment {
	var all []*attachment
	for range count {
		all = append(all, h.equipped(h.pod()))
	}
	return all
}

// warm attaches and detaches a pod, so that what is made once is there. It skips the check
// if the network is for one pod only; checked says that CHECK of a lone pod passes.
func (h *host) warm() (checked bool) {
	if h.network.ipamType() == "static" {
		h.Skipf("all pods of this network have the same address")
	}
	h.needSeveral()
	a := h.attachEquipped()
	if ok, err := wire.AtLeast(h.network.Version, "0.4.0"); err == nil && ok {
		checked = a.check() == nil
	}
	a.detach()
	h.remove(a.Pod)
	return checked
}

// addresses returns those that the attachment has for itself.
func addresses(a *attachment) []netip.Addr {
	var all []netip.Addr
	if a.Result != nil {
		for _, ip := range a.Result.IPs {
			if addr := ip.Address.Addr(); !addr.IsLoopback() {
				all = append(all, addr)
			}
		}
	}
	return all
}

func shared(a, b []netip.Addr) bool {
	return slices.ContainsFunc(a, func(addr netip.Addr) bool { return slices.Contains(b, addr) })
}

func (h *host) removeAll(all []*attachment) {
	for _, a := range all {
		h.remove(a.Pod)
	}
}

func checkCrowd(h *host) {
	h.needRoom(crowd)
	h.warm()
	before := h.footprint()
	all := h.crowd(crowd)
	h.together(all, (*attachment).add)
	for i, a := range all {
		for _, other := range all[:i] {
			if shared(addresses(a), addresses(other)) {
				h.Errorf("%s and %s have one address: %v and %v", a.ID, other.ID, addresses(a), addresses(other))
			}
		}
	}
	h.together(all, (*attachment).del)
	h.compare(comparison{what: "after DEL of all", before: before, of: all, gone: true})
}

// checkCrowdMixed has two halves: while one comes the other goes, again and again.
func checkCrowdMixed(h *host) {
	h.needRoom(crowd)
	checked := h.warm()
	before := h.footprint()
	here, next := h.crowd(crowd/2), h.crowd(crowd/2)
	gone := here
	h.together(here, (*attachment).add)
	for range 3 {
		h.together(slices.Concat(here, next), func(a *attachment) error {
			if slices.Contains(here, a) {
				return a.del()
			}
			return a.add()
		})
		if checked {
			h.together(next, (*attachment).check)
		}
		here, next = next, h.crowd(crowd/2)
		gone = append(gone, here...)
	}
	h.together(here, (*attachment).del)
	h.compare(comparison{what: "after DEL of all", before: before, of: gone, gone: true})
}
