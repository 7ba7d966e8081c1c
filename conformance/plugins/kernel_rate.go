package plugins

import (
	"encoding/json"
	"net/netip"
	"time"

	"github.com/seamnet/seam/cni"
)

// A rate that a limit keeps for a second or two is measured, and one that is far above
// what no limit would let pass on a slow machine is not mistaken for it.
const (
	askedRate  = 24_000_000 // bits a second
	askedBurst = 1_000_000  // bits
	sentBytes  = 3_000_000  // takes a second, but for the burst
)

// limited makes a pod with the limits, and returns it with who is to reach it.
func (h *host) limited(limits cni.Bandwidth) (*attachment, *pod, []netip.Addr) {
	h.declared(cni.CapabilityBandwidth)
	for _, m := range h.network.Members { // those of the configuration would win
		m.Conf.Delete("ingressRate", "ingressBurst", "egressRate", "egressBurst")
	}
	a := h.attachment(h.pod())
	a.Capabilities = map[string]any{cni.CapabilityBandwidth: limits}
	if err := a.add(); err != nil {
		text, _ := json.Marshal(limits)
		h.Fatalf("with the limits %s: %v", text, err)
	}
	h.leads(a)
	p, near := h.peer(a)
	return a, p, near[:1]
}

func checkIngress(h *host) {
	a, p, near := h.limited(cni.Bandwidth{IngressRate: askedRate, IngressBurst: askedBurst})
	for _, addr := range near {
		h.serve(a.Pod, addr)
		to := tcp(p, addr)
		if h.answers(to, a.Pod) {
			took, err := to.send(h.Context(), sentBytes)
			h.keeps(took, err)
		}
	}
}

func checkEgressRate(h *host) {
	a, p, near := h.limited(cni.Bandwidth{EgressRate: askedRate, EgressBurst: askedBurst})
	for _, addr := range near {
		h.serve(a.Pod, addr)
		to := tcp(p, addr)
		if h.answers(to, a.Pod) {
			took, err := to.fetch(h.Context(), sentBytes)
			h.keeps(took, err)
		}
	}
}

// keeps wants a transfer to have been at the asked rate, half of it more or less.
func (h *host) keeps(took time.Duration, err error) {
	if err != nil {
		h.Fatalf("%v", err)
	}
	rate := (8*sentBytes - askedBurst) / took.Seconds()
	if rate < askedRate/2 || rate > askedRate*3/2 {
		h.Errorf("%d bytes took %v, which is %.1f Mbit/s; the limit is %.1f", sentBytes, took, rate/1e6, float64(askedRate)/1e6)
	}
}
