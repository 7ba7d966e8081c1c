package main

import (
	"time"

	"github.com/seamnet/seam/cni"
)

// A meter makes rates of what attachments have in all. Between two looks there must be
// the least time: frames that changes call for come at any moment.
type meter struct {
	least     time.Duration
	now       time.Time
	last, new map[cni.Tag]reading
}

type reading struct {
	at        time.Time
	total     traffic
	perSecond *traffic
}

// begin begins a frame; attachments that were not in the last one are forgotten.
func (m *meter) begin(now time.Time) {
	m.now, m.last, m.new = now, m.new, make(map[cni.Tag]reading, len(m.new))
}

// perSecond returns the rates of an attachment, nil if it is seen for the first time.
func (m *meter) perSecond(tag cni.Tag, total traffic) *traffic {
	was, ok := m.last[tag]
	passed := m.now.Sub(was.at)
	if ok && passed < m.least {
		m.new[tag] = was
		return was.perSecond
	}
	r := reading{at: m.now, total: total}
	if ok {
		r.perSecond = total.since(was.total, passed)
	}
	m.new[tag] = r
	return r.perSecond
}
