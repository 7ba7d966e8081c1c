package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/ipam"
	"github.com/seamnet/seam/link"
)

// An ipRange is where addresses are taken from, as host-local's configuration has it.
type ipRange struct {
	Subnet string `json:"subnet"`
	First  string `json:"rangeStart"`
	Last   string `json:"rangeEnd"`
}

// sets returns the ranges that a plugin's addresses come from, without what is not valid.
func (k keys) sets() []ipam.Set {
	if k.IPAM.Type != "host-local" {
		return nil
	}
	lists := slices.Concat(k.Runtime.Ranges, k.IPAM.Ranges)
	if k.IPAM.Subnet != "" {
		lists = append(lists, []ipRange{k.IPAM.ipRange})
	}
	var sets []ipam.Set
	for _, list := range lists {
		set := make(ipam.Set, len(list))
		for i, r := range list {
			set[i].Subnet, _ = netip.ParsePrefix(r.Subnet)
			set[i].First, _ = netip.ParseAddr(r.First)
			set[i].Last, _ = netip.ParseAddr(r.Last)
		}
		if set, err := set.Complete(); err == nil {
			sets = append(sets, set)
		}
	}
	return sets
}

func subnets(sets []ipam.Set) (all []netip.Prefix) {
	for _, set := range sets {
		for _, r := range set {
			all = append(all, r.Subnet.Masked())
		}
	}
	slices.SortFunc(all, netip.Prefix.Compare)
	return slices.Compact(all)
}

func sameSubnets(a, b keys) bool { return slices.Equal(subnets(a.sets()), subnets(b.sets())) }

// ranges finds ranges that another network gives addresses of, too, or that the host
// reaches by another way.
func (s *scene) ranges() (found []Conflict) {
	for _, k := range s.chain {
		sets := k.sets()
		over := make(map[string]bool) // links of networks that are named already
		for _, n := range s.networks {
			for _, other := range chainOf(n, nil) {
				c, overlap := overlapping(sets, other, n)
				if overlap {
					found = append(found, c)
					over[other.Bridge] = true
				}
			}
		}
		for _, d := range s.host.Destinations() {
			if !over[d.Links[0]] && !s.own(k, d) {
				found = append(found, routed(sets, d)...)
			}
		}
	}
	return found
}

func overlapping(sets []ipam.Set, other keys, n *seam.Network) (Conflict, bool) {
	for _, set := range sets {
		for _, theirs := range other.sets() {
			if ipam.Disjoint([]ipam.Set{theirs, set}) != nil {
				return Conflict{
					Kind: "range", Subject: set.String(), With: "network " + n.Name,
					Says: fmt.Sprintf("range %s overlaps %s of network %s", set, theirs, n.Name),
					Hint: "give the networks different ranges: neither knows of the other's leases",
				}, true
			}
		}
	}
	return Conflict{}, false
}

// own reports whether a route is the network's: over its bridge or its master, or to its containers.
func (s *scene) own(k keys, d link.Destination) bool {
	name := d.Links[0]
	l := byName(s.host, name)
	if l == nil || name == k.Bridge || name == k.Master || l.Name == k.Master {
		return true
	}
	tag, ours := strings.CutPrefix(l.Alias, "seam:")
	return ours && cni.Tag(tag).In(s.question.Network.Name)
}

func routed(sets []ipam.Set, d link.Destination) (found []Conflict) {
	for _, p := range subnets(sets) {
		if p.Overlaps(d.Prefix) {
			found = append(found, Conflict{
				Kind: "route", Subject: p.String(), With: d.Prefix.String() + " dev " + d.Links[0],
				Says: fmt.Sprintf("subnet %s overlaps the host's route to %s over %s", p, d.Prefix, d.Links[0]),
				Hint: "choose a subnet that the host has no route to",
			})
		}
	}
	return found
}
