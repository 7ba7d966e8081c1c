package docker

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/docker/ahead"
	"github.com/seamnet/seam/ipam"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/state"
)

// How long the subnets of pools are that nobody chose a subnet for.
const (
	poolBits4 = 24
	poolBits6 = 64
)

// ownPool chooses a pool of the driver's own. The folder's lock is held.
func (p *IPAM) ownPool(r *cnm.PoolRequest) (poolName, error) {
	if r.Subnet.IsValid() {
		return p.wantedPool(r)
	}
	if r.Range.IsValid() {
		return poolName{}, fmt.Errorf("--ip-range %s: needs the --subnet that it is a part of", r.Range)
	}
	return p.nextPool(r.IPv6)
}

// wantedPool returns the pool of a subnet that is asked for by name. It may overlap the
// host's routes: who names it may know why.
func (p *IPAM) wantedPool(r *cnm.PoolRequest) (poolName, error) {
	name := poolName{Subnet: r.Subnet.Masked()}
	if name.Subnet.Addr().Is4() == r.IPv6 {
		return name, fmt.Errorf("--subnet %s is not of the family that is asked for", r.Subnet)
	}
	if _, err := (ipam.Range{Subnet: name.Subnet}).Complete(); err != nil {
		return name, fmt.Errorf("--subnet: %w", err)
	}
	var err error
	if name.Range, err = rangeIn(name.Subnet, r); err != nil {
		return name, err
	}
	others, err := p.handedOut()
	if err != nil {
		return name, err
	}
	for _, o := range others {
		same := o.Network == "" && o.Subnet == name.Subnet
		switch {
		case same || !o.Subnet.Overlaps(name.Subnet):
		case o.Network != "":
			return name, fmt.Errorf("--subnet %s overlaps %s of network %s; to use that one's addresses: --ipam-opt %s=%s", r.Subnet, o.Subnet, o.Network, ipamNetwork, o.Network)
		default:
			return name, fmt.Errorf("--subnet %s overlaps %s, which another Docker network has", r.Subnet, o.Subnet)
		}
	}
	return name, nil
}

// nextPool returns the first subnet that is free as far as the host knows. An engine that
// knows better asks again, and releases at the end what it did not like.
func (p *IPAM) nextPool(ipv6 bool) (poolName, error) {
	base, bits := p.Base4, poolBits4
	if ipv6 {
		base, bits = p.Base6, poolBits6
	}
	switch {
	case base.IsValid():
		base = base.Masked()
	case ipv6:
		base = DefaultPool6()
	default:
		base = DefaultPool4()
	}
	bits = max(bits, base.Bits())
	busy, err := p.busy()
	if err != nil {
		return poolName{}, err
	}
	for subnet := netip.PrefixFrom(base.Addr(), bits); base.Contains(subnet.Addr()); subnet = after(subnet) {
		if !overlapsAny(subnet, busy) {
			return poolName{Subnet: subnet}, nil
		}
	}
	return poolName{}, fmt.Errorf("no subnet of length %d is free in %s: each overlaps a Docker network, a network of %s or a route of the host; give one with --subnet", bits, base, p.ConfDir)
}

func overlapsAny(subnet netip.Prefix, busy []netip.Prefix) bool {
	for _, b := range busy {
		if b.Overlaps(subnet) {
			return true
		}
	}
	return false
}

// after returns the subnet that follows one of the same length; after the last there is,
// the invalid one.
func after(p netip.Prefix) netip.Prefix {
	next := p.Addr().AsSlice()
	for bit := p.Bits() - 1; bit >= 0; bit-- {
		mask := byte(0x80 >> (bit % 8))
		next[bit/8] ^= mask
		if next[bit/8]&mask != 0 {
			a, _ := netip.AddrFromSlice(next)
			return netip.PrefixFrom(a, p.Bits())
		}
	}
	return netip.Prefix{}
}

// busy returns what pools that nobody chose a subnet for must not overlap.
func (p *IPAM) busy() ([]netip.Prefix, error) {
	others, err := p.handedOut()
	if err != nil {
		return nil, err
	}
	routes := p.Routes
	if routes == nil {
		routes = hostRoutes
	}
	busy, err := routes()
	if err != nil {
		return nil, err
	}
	for _, o := range others {
		busy = append(busy, o.Subnet)
	}
	networks, _ := seam.LoadAll(p.ConfDir) // a file that is broken keeps nobody from having another network
	for _, n := range networks {
		offers, _ := ahead.Offers(n) // what is not known cannot be spared
		for _, o := range offers {
			busy = append(busy, o.Subnet)
		}
	}
	return busy, nil
}

// hostRoutes returns where routes of the calling process's namespace lead.
func hostRoutes() ([]netip.Prefix, error) {
	h, err := link.Open()
	if err != nil {
		return nil, err
	}
	routes, err := h.Destinations()
	return routes, errors.Join(err, h.Close())
}

// handedOut returns the pools that there are. The folder's lock is held.
func (p *IPAM) handedOut() ([]poolName, error) {
	pools, err := state.List[pool](p.file("pools"))
	if err != nil {
		return nil, err
	}
	var names []poolName
	for _, have := range pools {
		name, err := parsePool(have.ID)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// ownNetwork returns the network whose IPAM plugin leases the addresses of a pool of the
// driver's own. No address is kept back for a gateway: the engine asks for one like for
// any other.
func (p *IPAM) ownNetwork(name poolName) (*seam.Network, error) {
	type object = map[string]any
	subnet := name.Subnet
	raw, err := json.Marshal(object{
		"cniVersion": "1.0.0",
		"name":       name.book(),
		"plugins": []any{object{
			"type": "host-local",
			"ipam": object{
				"type":    "host-local",
				"dataDir": p.file("leases"),
				"ranges":  [][]object{{{"subnet": subnet.String(), "gateway": subnet.Addr().String()}}},
			},
		}},
	})
	if err != nil {
		return nil, err
	}
	return seam.Parse(raw, "")
}
