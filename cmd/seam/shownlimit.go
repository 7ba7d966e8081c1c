package main

import (
	"encoding/json"
	"slices"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/plugin/bandwidth"
)

// A shownLimit is what bounds the rate of what leaves by a link.
type shownLimit struct {
	Qdisc      string   `json:"qdisc,omitempty"`         // that delays it: tbf, htb
	Rate       uint64   `json:"bitsPerSecond,omitempty"` // of the qdisc
	LostLimits []string `json:"missingLimits,omitempty"` // what plugin bandwidth made and is not there
}

// wantedLimits are those that plugin bandwidth was told for an attachment, zero if none.
func wantedLimits(r *seam.Record) bandwidth.Limits {
	n, err := r.Recorded()
	if err != nil {
		return bandwidth.Limits{} // what cannot be read is wanted of nobody
	}
	for _, p := range n.Plugins {
		if p.Type != "bandwidth" {
			continue
		}
		var conf bandwidth.Config
		if json.Unmarshal(p.JSON, &conf) == nil && conf.Limits != nil {
			return *conf.Limits
		}
		var given bandwidth.Limits
		if slices.Contains(p.Capabilities, cni.CapabilityBandwidth) && json.Unmarshal(r.Capabilities[cni.CapabilityBandwidth], &given) == nil {
			return given
		}
	}
	return bandwidth.Limits{}
}

// lookLimit fills in a link's limit. What the container receives waits at its host end;
// what it sends is led from there to a link of kind ifb, and waits there.
func (e *explanation) lookLimit(l *shownLink, now link.Link, h *link.Handle) {
	qdisc, rate, err := h.Shaping(now)
	e.note(err)
	l.Qdisc, l.Rate = qdisc, 8*rate
	if !l.Host || err != nil {
		return
	}
	wanted := map[string]uint64{"veth": e.limits.IngressRate, "ifb": e.limits.EgressRate}[now.Kind]
	if wanted/8 != rate && wanted > 0 {
		l.LostLimits = append(l.LostLimits, "rate "+rateText(wanted))
	}
	if now.Kind != "veth" || e.limits.EgressRate == 0 {
		return
	}
	filters, err := h.IngressFilters(now)
	e.note(err)
	if err == nil && !slices.ContainsFunc(filters, func(f link.Filter) bool { return f.Redirect > 0 }) {
		l.LostLimits = append(l.LostLimits, "redirection of what is sent")
	}
}
