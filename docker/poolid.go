package docker

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cnm"
)

// A poolName is what a pool is, all of it: an engine keeps its text as the pool's ID, for as
// long as a network exists, and an ID is understood whatever else was lost.
//
//	seam:NETWORK|SUBNET        a subnet of a network of the host's
//	seam:NETWORK|SUBNET|RANGE  with addresses out of RANGE only
//	pool:SUBNET[|RANGE]        a subnet of the driver's own
type poolName struct {
	Network string       // empty: the driver's own
	Subnet  netip.Prefix // of which addresses have their length
	Range   netip.Prefix // where addresses are to be taken from; invalid: all of the subnet
}

const (
	networkPool = "seam:"
	ownPool     = "pool:"
)

// ID returns the pool's ID.
func (p poolName) ID() cnm.PoolID {
	text := ownPool
	if p.Network != "" {
		text = networkPool + p.Network + "|"
	}
	text += p.Subnet.String()
	if p.Range.IsValid() {
		text += "|" + p.Range.String()
	}
	return cnm.PoolID(text)
}

// parsePool reads a pool's ID. It takes nothing but what ID prints.
func parsePool(id cnm.PoolID) (p poolName, err error) {
	wrong := func(why string) (poolName, error) {
		return poolName{}, fmt.Errorf("pool %q: not one of this driver's: %s", id, why)
	}
	rest, own := strings.CutPrefix(string(id), ownPool)
	if !own {
		var ok bool
		if rest, ok = strings.CutPrefix(rest, networkPool); !ok {
			return wrong("begins neither with " + ownPool + " nor with " + networkPool)
		}
		if p.Network, rest, ok = strings.Cut(rest, "|"); !ok || cni.CheckNetworkName(p.Network) != nil {
			return wrong("names no network")
		}
	}
	subnet, within, ranged := strings.Cut(rest, "|")
	if p.Subnet, err = netip.ParsePrefix(subnet); err != nil || p.Subnet != p.Subnet.Masked() || p.Subnet.Addr().Is4In6() {
		return wrong("names no subnet")
	}
	if ranged {
		if p.Range, err = netip.ParsePrefix(within); err != nil || p.Range != p.Range.Masked() || !holds(p.Subnet, p.Range) {
			return wrong("names a range that is not of its subnet")
		}
	}
	if p.ID() != id {
		return wrong("written in another way")
	}
	return p, nil
}

// book returns the name under which the pool's addresses are leased: of a network of the
// host's its own, as pods are to be seen.
func (p poolName) book() string {
	if p.Network != "" {
		return p.Network
	}
	return "docker-pool-" + strings.NewReplacer("/", "-", ":", "_").Replace(p.Subnet.String())
}

// holds reports whether all of the inner prefix is within the outer one.
func holds(outer, inner netip.Prefix) bool {
	return outer.Contains(inner.Addr()) && inner.Bits() >= outer.Bits()
}
