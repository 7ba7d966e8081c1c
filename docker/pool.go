package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/docker/ahead"
	"github.com/seamnet/seam/ipam"
	"github.com/seamnet/seam/state"
)

// A pool is one that was handed out.
type pool struct {
	ID    cnm.PoolID `json:"id"`
	Since time.Time  `json:"since"`
	Count int        `json:"count"` // of Docker networks that have it; 0: only addresses of it are in use

	// Config is the IPAM plugin of a network of the host's, as it was then: for when its
	// file is gone.
	Config json.RawMessage `json:"config,omitempty"`
}

func (p *IPAM) poolFile(id cnm.PoolID) string { return p.file("pools", cni.Tag(id).Hash(24)) }

// RequestPool hands a pool out. The subnet of a network of the host's is what its IPAM
// plugin's configuration says; one that is asked for must be it or, to take addresses from
// a part only, lie within.
func (p *IPAM) RequestPool(ctx context.Context, r *cnm.PoolRequest) (*cnm.Pool, error) {
	for option := range r.Options {
		if option != ipamNetwork {
			return nil, fmt.Errorf("--ipam-opt %s: unknown; known is %s=NETWORK, a network of %s", option, ipamNetwork, p.ConfDir)
		}
	}
	unlock, err := p.lock(ctx, p.dir())
	if err != nil {
		return nil, err
	}
	defer unlock()
	if network := r.Options[ipamNetwork]; network != "" {
		return p.networkPool(network, r)
	}
	name, err := p.ownPool(r)
	if err != nil {
		return nil, err
	}
	return &cnm.Pool{ID: name.ID(), Subnet: name.Subnet}, p.handOut(name, nil)
}

// handOut counts the pool.
func (p *IPAM) handOut(name poolName, config []byte) error {
	file := p.poolFile(name.ID())
	have, err := state.Read[pool](file)
	if err != nil {
		return err
	}
	if have == nil {
		have = &pool{ID: name.ID(), Since: p.now()}
	}
	have.Config = config
	have.Count++
	if err := state.Write(file, have); err != nil {
		return err
	}
	return state.Sync(file)
}

// networkPool hands out a pool of a network of the host's.
func (p *IPAM) networkPool(network string, r *cnm.PoolRequest) (*cnm.Pool, error) {
	n, err := seam.Load(p.ConfDir, network)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("--ipam-opt %s: %w (seam ls lists them)", ipamNetwork, err)
	}
	if err != nil {
		return nil, err
	}
	offers, err := ahead.Offers(n)
	if err != nil {
		return nil, fmt.Errorf("--ipam-opt %s: %w; with --ipam-driver null the network's plugins give addresses when containers start", ipamNetwork, err)
	}
	offer, within, err := choose(n, offers, r)
	if err != nil {
		return nil, err
	}
	alone, err := ahead.Alone(n)
	if err != nil {
		return nil, err
	}
	name := poolName{Network: network, Subnet: offer.Subnet, Range: within}
	if !r.Subnet.IsValid() && p.asked.endlessly(name, p.now()) {
		return nil, fmt.Errorf("network %s has the subnet %s, which the host has a route to: this engine takes it only by name: add --subnet %s", network, offer.Subnet, offer.Subnet)
	}
	answer := &cnm.Pool{ID: name.ID(), Subnet: offer.Subnet, Gateway: gatewayOf(offer)}
	if !r.Subnet.IsValid() && !r.IPv6 && p.refused.again(name.ID(), p.now()) {
		answer.Subnet = everything4()
	}
	return answer, p.handOut(name, alone.Raw)
}

// choose returns the offer that is asked for and, where not all of it is, the range.
func choose(n *seam.Network, offers []ahead.Offer, r *cnm.PoolRequest) (*ahead.Offer, netip.Prefix, error) {
	var known []netip.Prefix
	for i := range offers {
		o := &offers[i]
		if o.Subnet.Addr().Is4() == r.IPv6 {
			continue
		}
		known = append(known, o.Subnet)
		if r.Subnet.IsValid() && !holds(o.Subnet, r.Subnet) {
			continue
		}
		within, err := rangeIn(o.Subnet, r)
		if err == nil && within.IsValid() && len(o.Within(within)) == 0 {
			err = fmt.Errorf("network %s gives no address of %s: it gives %s", n.Name, within, ipam.Set(o.Ranges))
		}
		return o, within, err
	}
	switch {
	case known != nil:
		return nil, netip.Prefix{}, fmt.Errorf("--subnet %s: network %s gives addresses of %v; name one of these or a part of it, or leave it out", r.Subnet, n.Name, known)
	case r.IPv6:
		return nil, netip.Prefix{}, fmt.Errorf("network %s has no IPv6 addresses to give: leave --ipv6 out, or give it a range of IPv6 in %s", n.Name, n.File)
	}
	return nil, netip.Prefix{}, fmt.Errorf("network %s has no IPv4 addresses to give", n.Name)
}

// rangeIn returns the part of the subnet that is asked for: of --subnet, if that is not
// all, or of --ip-range; invalid: all of it.
func rangeIn(subnet netip.Prefix, r *cnm.PoolRequest) (netip.Prefix, error) {
	part := netip.Prefix{}
	if r.Subnet.IsValid() && r.Subnet.Masked() != subnet {
		part = r.Subnet.Masked()
	}
	if !r.Range.IsValid() {
		return part, nil
	}
	outer := subnet
	if part.IsValid() {
		outer = part
	}
	if !holds(outer, r.Range.Masked()) {
		return part, fmt.Errorf("--ip-range %s lies outside of subnet %s", r.Range, outer)
	}
	if r.Range.Masked() == subnet {
		return netip.Prefix{}, nil
	}
	return r.Range.Masked(), nil
}

// gatewayOf returns the gateway of an offer with its subnet's length, invalid if it has
// none.
func gatewayOf(o *ahead.Offer) netip.Prefix {
	if !o.Gateway.IsValid() {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(o.Gateway, o.Subnet.Bits())
}

// ReleasePool counts the pool down. With the last use it is free, unless there are
// addresses of it still: then with the last of these.
func (p *IPAM) ReleasePool(ctx context.Context, id cnm.PoolID) error {
	if _, err := parsePool(id); err != nil {
		return err
	}
	unlock, err := p.lock(ctx, p.dir())
	if err != nil {
		return err
	}
	defer unlock()
	have, err := state.Read[pool](p.poolFile(id))
	if err != nil || have == nil {
		return err
	}
	have.Count = max(have.Count-1, 0)
	if err := state.Write(p.poolFile(id), have); err != nil {
		return err
	}
	return p.forget(have)
}

// forget removes a pool that nobody uses. The folder's lock is held.
func (p *IPAM) forget(have *pool) error {
	name, err := parsePool(have.ID)
	if err != nil || have.Count > 0 {
		return err
	}
	leases, err := state.List[lease](p.addresses(name.book()))
	if err != nil || slices.ContainsFunc(leases, func(l *lease) bool { return l.Pool == have.ID }) {
		return err
	}
	errs := []error{state.Remove(p.poolFile(have.ID))}
	if name.Network == "" && len(leases) == 0 {
		errs = append(errs, os.RemoveAll(p.file("leases", name.book())), os.RemoveAll(p.file("leases", ".seam", name.book())))
	}
	return errors.Join(errs...)
}
