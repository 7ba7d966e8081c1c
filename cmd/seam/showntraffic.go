package main

import (
	"fmt"
	"math"
	"time"

	"github.com/seamnet/seam/link"
)

// A traffic is what has passed a link since it was made, seen from the link.
type traffic struct {
	ReceivedBytes   uint64 `json:"receivedBytes,omitempty"`
	ReceivedPackets uint64 `json:"receivedPackets,omitempty"`
	ReceivedDropped uint64 `json:"receivedDropped,omitempty"` // packets
	SentBytes       uint64 `json:"sentBytes,omitempty"`
	SentPackets     uint64 `json:"sentPackets,omitempty"`
	SentDropped     uint64 `json:"sentDropped,omitempty"` // packets
}

func trafficOf(c link.Counters) traffic {
	return traffic{c.RxBytes, c.RxPackets, c.RxDropped, c.TxBytes, c.TxPackets, c.TxDropped}
}

// bytes is what sorts links by traffic.
func (t traffic) bytes() uint64 { return t.ReceivedBytes + t.SentBytes }

func (t traffic) dropped() uint64 { return t.ReceivedDropped + t.SentDropped }

// text is empty for a link that nothing has passed.
func (t traffic) text() string {
	if t == (traffic{}) {
		return ""
	}
	text := fmt.Sprintf("received %sB, %d packets  sent %sB, %d packets", short(t.ReceivedBytes), t.ReceivedPackets, short(t.SentBytes), t.SentPackets)
	if t.dropped() > 0 {
		text += fmt.Sprintf("  dropped %d received, %d to send", t.ReceivedDropped, t.SentDropped)
	}
	return text
}

// short writes a number with three digits at most and a decimal prefix: 999, 1.2k, 45M.
func short(n uint64) string {
	const prefixes = "kMGTPE"
	if n < 1000 {
		return fmt.Sprintf("%d", n)
	}
	f, i := float64(n)/1000, 0
	for ; f >= 999.5; i++ {
		f /= 1000
	}
	if f < 9.95 {
		return fmt.Sprintf("%.1f%c", f, prefixes[i])
	}
	return fmt.Sprintf("%.0f%c", f, prefixes[i])
}

func (t traffic) plus(o traffic) traffic {
	return traffic{
		t.ReceivedBytes + o.ReceivedBytes, t.ReceivedPackets + o.ReceivedPackets, t.ReceivedDropped + o.ReceivedDropped,
		t.SentBytes + o.SentBytes, t.SentPackets + o.SentPackets, t.SentDropped + o.SentDropped,
	}
}

// since returns what has passed a second since before; nothing where a counter went back,
// as the link is another one then.
func (t traffic) since(before traffic, d time.Duration) *traffic {
	back := false
	rate := func(now, then uint64) uint64 {
		back = back || now < then
		return uint64(math.Round(float64(now-then) / d.Seconds()))
	}
	r := traffic{
		rate(t.ReceivedBytes, before.ReceivedBytes), rate(t.ReceivedPackets, before.ReceivedPackets), rate(t.ReceivedDropped, before.ReceivedDropped),
		rate(t.SentBytes, before.SentBytes), rate(t.SentPackets, before.SentPackets), rate(t.SentDropped, before.SentDropped),
	}
	if back {
		r = traffic{}
	}
	return &r
}
