package docker

import "time"

// A poolAsking notices that an engine asks for a pool without end, where refusals do not help:
// for IPv6. Before 28 one does that when the host has a route to the subnet that it was given,
// because it expects to be given another; but a network of the host's has no other.
//
// Its caller excludes other calls.
type poolAsking struct {
	pool  poolName
	first time.Time
	times int
}

// An engine that asks without end does so every few milliseconds; people, and compose,
// make fewer Docker networks of one network of the host's in this time.
const (
	askingTime = time.Second
	askingMost = 4
)

// endlessly counts a request, and reports whether it is one too many.
func (a *poolAsking) endlessly(p poolName, now time.Time) bool {
	if a.pool != p || now.Sub(a.first) > askingTime {
		*a = poolAsking{pool: p, first: now}
	}
	a.times++
	return a.times > askingMost
}
