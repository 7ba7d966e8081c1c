package cnm

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/cnm/wire"
)

// A pool is a subnet of a network, as the driver is told of it; with an IPAM driver, one
// that it reserved.
type pool struct {
	Space   string                  `json:"space,omitempty"`
	Subnet  netip.Prefix            `json:"subnet,omitzero"`
	Gateway netip.Prefix            `json:"gateway,omitzero"`
	Aux     map[string]netip.Prefix `json:"aux,omitempty"`

	Request *cnm.PoolRequest `json:"request,omitempty"` // to the IPAM driver, which may have answered or not
	ID      cnm.PoolID       `json:"id,omitempty"`      // its answer
	Held    []netip.Addr     `json:"held,omitempty"`    // addresses that were asked for beside those of endpoints
}

// What the null IPAM of engines says of subnets that nobody knows.
const nullSpace = "null"

// localSpace is what the engines' own IPAM calls the space of local networks.
const localSpace = "LocalDefault"

// reserve sets the network's pools.
func (n *network) reserve(ctx context.Context, given []cni.IP) error {
	switch {
	case n.Wish.IPAM != "":
		return n.reservePools(ctx)
	case len(given) > 0:
		n.Pools = n.Wish.told(given)
	default:
		n.Pools = []pool{{Space: nullSpace, Subnet: netip.PrefixFrom(netip.IPv4Unspecified(), 0)}}
		if n.Wish.IPv6 {
			n.Pools = append(n.Pools, pool{Space: nullSpace, Subnet: netip.PrefixFrom(netip.IPv6Unspecified(), 0)})
		}
	}
	return nil
}

// told returns what the driver is told of subnets where CNI's IPAM gives the addresses: what
// the configuration says, else what the first address was.
func (w *wish) told(given []cni.IP) (pools []pool) {
	for _, ip := range given {
		p := pool{Space: localSpace, Subnet: ip.Address.Masked()}
		if s := of(ip.Address.Addr(), w.Subnets); s.IsValid() {
			p.Subnet = s.Masked()
		}
		gateway := ip.Gateway
		for _, g := range w.Gateways {
			if g.Is4() == p.Subnet.Addr().Is4() {
				gateway = g
			}
		}
		if gateway.IsValid() && p.Subnet.Contains(gateway) {
			p.Gateway = netip.PrefixFrom(gateway, p.Subnet.Bits())
		}
		pools = append(pools, p)
	}
	slices.SortStableFunc(pools, func(a, b pool) int { return a.Subnet.Addr().BitLen() - b.Subnet.Addr().BitLen() })
	return pools
}

// wanted returns what the IPAM driver is to be asked for, IPv4 first.
func (w *wish) wanted(space string) (requests []*cnm.PoolRequest) {
	any4 := !slices.ContainsFunc(w.Subnets, func(p netip.Prefix) bool { return p.Addr().Is6() }) || w.IPv6
	for _, v6 := range []bool{false, true} {
		r := &cnm.PoolRequest{Space: space, IPv6: v6, Options: w.IPAMOptions}
		family := netip.IPv4Unspecified()
		if v6 {
			family = netip.IPv6Unspecified()
		}
		r.Subnet, r.Range = of(family, w.Subnets).Masked(), of(family, w.Ranges).Masked()
		if r.Subnet.IsValid() || !v6 && any4 || v6 && w.IPv6 {
			requests = append(requests, r)
		}
	}
	return requests
}

// reservePools asks the IPAM driver for pools and, in each, for the gateway and what is not
// for containers.
func (n *network) reservePools(ctx context.Context) error {
	d, err := n.ipam()
	if err != nil {
		return err
	}
	can, err := d.IPAMCapabilities(ctx)
	if err != nil {
		return err
	}
	for _, r := range n.Wish.wanted(can.LocalSpace) {
		n.Pools = append(n.Pools, pool{Space: r.Space, Request: r})
		p := &n.Pools[len(n.Pools)-1]
		if err := n.write(); err != nil {
			return err
		}
		reserved, err := d.RequestPool(ctx, r)
		if err != nil {
			return err
		}
		p.ID, p.Subnet, p.Gateway = reserved.ID, reserved.Subnet, reserved.Gateway
		if err := n.hold(ctx, d, p); err != nil {
			return fmt.Errorf("pool %s: %w", p.Subnet, err)
		}
	}
	return nil
}

// hold asks for the gateway: the wished one, else any, unless the pool came with one; and
// for the auxiliary addresses.
func (n *network) hold(ctx context.Context, d *wire.Client, p *pool) error {
	if p.Subnet.Addr().Is6() != p.Request.IPv6 {
		return fmt.Errorf("the IPAM driver gave another family than it was asked for")
	}
	var gateway netip.Addr
	for _, g := range n.Wish.Gateways {
		if p.Subnet.Contains(g) {
			gateway = g
		}
	}
	if gateway.IsValid() || !p.Gateway.IsValid() {
		var err error
		if p.Gateway, err = n.take(ctx, d, p, &cnm.AddressRequest{Address: gateway, Gateway: true}); err != nil {
			return err
		}
	}
	for name, aux := range n.Wish.Aux {
		if !p.Subnet.Contains(aux) {
			continue
		}
		if _, err := n.take(ctx, d, p, &cnm.AddressRequest{Address: aux}); err != nil {
			return fmt.Errorf("auxiliary address %s: %w", name, err)
		}
		if p.Aux == nil {
			p.Aux = map[string]netip.Prefix{}
		}
		p.Aux[name] = netip.PrefixFrom(aux, p.Subnet.Bits())
	}
	return n.write()
}

// take asks for an address of the pool, and notes it: a certain one before.
func (n *network) take(ctx context.Context, d *wire.Client, p *pool, r *cnm.AddressRequest) (netip.Prefix, error) {
	r.Pool = p.ID
	if r.Address.IsValid() {
		p.Held = append(p.Held, r.Address)
	}
	if err := n.write(); err != nil {
		return netip.Prefix{}, err
	}
	got, err := d.RequestAddress(ctx, r)
	if err == nil && !r.Address.IsValid() {
		p.Held = append(p.Held, got.Addr())
	}
	return got, err
}

// release gives the pools back, and the addresses in them. A pool whose request may not have
// been answered is asked for again: the same request has the same answer.
func (n *network) release(ctx context.Context, f *farewell) error {
	if !slices.ContainsFunc(n.Pools, func(p pool) bool { return p.Request != nil }) {
		return nil
	}
	d, err := n.ipam()
	if err != nil {
		f.heard(err, done)
		return nil
	}
	for i := range n.Pools {
		p := &n.Pools[i]
		if p.Request != nil {
			n.releasePool(ctx, d, p, f)
		}
		if err := n.write(); err != nil {
			return err
		}
	}
	return nil
}

func (n *network) releasePool(ctx context.Context, d *wire.Client, p *pool, f *farewell) {
	requests := 1
	if p.ID == "" && p.Request.Subnet.IsValid() {
		reserved, err := d.RequestPool(ctx, p.Request)
		if unanswered(err) {
			f.heard(err, begun)
			return
		}
		if err == nil {
			p.ID, requests = reserved.ID, 2
		}
	}
	if p.ID == "" {
		p.Request = nil
		return
	}
	p.Held = slices.DeleteFunc(p.Held, func(a netip.Addr) bool {
		return f.heard(d.ReleaseAddress(ctx, p.ID, a), begun)
	})
	over := len(f.silent) == 0
	for i := 0; over && i < requests; i++ {
		s := n.Made // of an unfinished network, not all addresses in it may be known
		if i > 0 {
			s = begun
		}
		over = f.heard(d.ReleasePool(ctx, p.ID), s)
	}
	if over {
		p.Request = nil
	}
}
