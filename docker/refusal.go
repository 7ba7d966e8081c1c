package docker

import (
	"sync"
	"time"

	"github.com/seamnet/seam/cnm"
)

// refusals are pools that an engine did not take. Asked for any pool, engines before 28 do
// not take one that the host has a route to, and ask again for as long as they are given an
// answer. The subnet of a network that is in use is one, and there is no other to give.
// But what they take, because null IPAM drivers give it, is a pool of all addresses; its
// gateway and addresses are still those of the subnet.
type refusals struct {
	mu      sync.Mutex
	offered map[cnm.PoolID]time.Time // and not taken yet
}

// refusalTime is within which an engine asks again. Two networks made so shortly one after
// the other get the second kind of pool without need, and it serves them, too.
const refusalTime = time.Second

// again reports whether the pool was just offered and not taken.
func (r *refusals) again(id cnm.PoolID, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.offered == nil {
		r.offered = make(map[cnm.PoolID]time.Time)
	}
	before, offered := r.offered[id]
	r.offered[id] = now
	return offered && now.Sub(before) < refusalTime
}

// took notes that an engine goes on with what it was offered.
func (r *refusals) took() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.offered)
}
