package ipam

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// A Pool gives out the addresses of a set, each to one holder at a time, and the
// one that was used longest ago last. It is not safe for concurrent use.
type Pool struct {
	set  Set
	last netip.Addr // given out most recently
	held map[netip.Addr]struct{}
}

// NewPool returns a pool of a complete set (see Set.Complete) with nothing held.
func NewPool(set Set) *Pool {
	return &Pool{set: set, held: make(map[netip.Addr]struct{})}
}

// Take gives out the next free address after the one given out last. If there is
// none, the error is a *FullError.
func (p *Pool) Take() (netip.Addr, error) {
	a, err := p.set.Take(p.last, func(a netip.Addr) (bool, error) {
		_, held := p.held[a]
		return !held, nil
	})
	if err == nil {
		p.hold(a)
	}
	return a, err
}

// Claim gives out the address asked for. The error matches ErrOutside, ErrGateway
// or ErrHeld.
func (p *Pool) Claim(a netip.Addr) error {
	if err := p.set.Check(a); err != nil {
		return err
	}
	if _, held := p.held[a]; held {
		return fmt.Errorf("address %s %w", a, ErrHeld)
	}
	p.hold(a)
	return nil
}

func (p *Pool) hold(a netip.Addr) {
	p.held[a] = struct{}{}
	p.last = a
}

// Release takes an address back. To release one that is not held is fine.
func (p *Pool) Release(a netip.Addr) { delete(p.held, a) }

// Held returns the addresses that are given out, the lowest first.
func (p *Pool) Held() []netip.Addr { return slices.SortedFunc(maps.Keys(p.held), netip.Addr.Compare) }
