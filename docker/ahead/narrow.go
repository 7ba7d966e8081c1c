package ahead

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/ipam"
)

// narrow returns the network of an IPAM plugin alone such that it gives only what is
// wanted. Plugins whose configuration is not understood are left to go by the
// addresses that they are asked for.
func narrow(n *seam.Network, want Request) (*seam.Network, error) {
	part := want.Subnet.IsValid() || want.Range.IsValid()
	known := n.Plugins[0].Type == hostLocal || n.Plugins[0].Type == static
	switch {
	case !known && part:
		return nil, cni.Errorf(cni.CodeInvalidConfig, "network %s: ipam %s cannot be asked for an address of one subnet or range", n.Name, n.Plugins[0].Type)
	case !known, !part && n.Plugins[0].Type != static:
		return n, nil
	}
	offers, err := Offers(n)
	if err != nil {
		return nil, err
	}
	if want.Subnet.IsValid() {
		if offers = slices.DeleteFunc(offers, func(o Offer) bool { return o.Subnet != want.Subnet }); len(offers) == 0 {
			return nil, cni.Errorf(cni.CodeInvalidConfig, "network %s: gives no addresses of %s", n.Name, want.Subnet)
		}
	}
	if n.Plugins[0].Type == static {
		return withAddresses(n, offers, want)
	}
	return withRanges(n, offers, want)
}

// withRanges has host-local give addresses out of these offers only.
func withRanges(n *seam.Network, offers []Offer, want Request) (*seam.Network, error) {
	var sets [][]rangeForm
	for i := range offers {
		var set []rangeForm
		for _, r := range ranges(&offers[i], want) {
			set = append(set, rangeForm{r.Subnet.String(), r.First.String(), r.Last.String(), r.Gateway.String()})
		}
		if set != nil {
			sets = append(sets, set)
		}
	}
	if sets == nil {
		return nil, cni.Errorf(cni.CodeInvalidConfig, "network %s: gives no addresses of the range %s", n.Name, want.Range)
	}
	return withIPAM(n, func(o *wire.Object) {
		o.Delete("subnet", "rangeStart", "rangeEnd", "gateway")
		o.Set("ranges", encode(sets))
	})
}

// ranges returns what is left of an offer. An address that is asked for by name may be
// any of the subnet: the configuration's range bounds what is given to those who do not
// care, and a person who says an address does.
func ranges(o *Offer, want Request) []ipam.Range {
	outside := func(a netip.Addr) bool { return o.Subnet.Contains(a) && !o.Contains(a) }
	switch {
	case slices.ContainsFunc(want.Addresses, outside):
		whole, err := ipam.Range{Subnet: o.Subnet, Gateway: o.Gateway}.Complete()
		if err != nil {
			return nil
		}
		return []ipam.Range{whole}
	case len(want.Addresses) > 0 || !want.Range.IsValid():
		return o.Ranges
	}
	return o.Within(want.Range)
}

// withAddresses has static give the addresses that are wanted or, if none are named,
// those of the offers.
func withAddresses(n *seam.Network, offers []Offer, want Request) (*seam.Network, error) {
	type form struct {
		Address string `json:"address"`
		Gateway string `json:"gateway,omitempty"`
	}
	var all []form
	add := func(o *Offer, a netip.Addr) {
		f := form{Address: netip.PrefixFrom(a, o.Subnet.Bits()).String()}
		if o.Gateway.IsValid() {
			f.Gateway = o.Gateway.String()
		}
		all = append(all, f)
	}
	for _, a := range want.Addresses {
		at := slices.IndexFunc(offers, func(o Offer) bool { return o.Subnet.Contains(a) })
		if at < 0 {
			return nil, cni.Errorf(cni.CodeInvalidConfig, "network %s: ipam static: address %s is of none of its subnets", n.Name, a)
		}
		add(&offers[at], a)
	}
	for i := range offers {
		for _, r := range offers[i].Ranges {
			if len(want.Addresses) == 0 && (!want.Range.IsValid() || want.Range.Contains(r.First)) {
				add(&offers[i], r.First)
			}
		}
	}
	return withIPAM(n, func(o *wire.Object) { o.Set("addresses", encode(all)) })
}

// withIPAM returns the network with its plugin's "ipam" changed.
func withIPAM(n *seam.Network, change func(*wire.Object)) (*seam.Network, error) {
	plugin, err := wire.ParseObject(n.Plugins[0].JSON)
	if err != nil {
		return nil, fmt.Errorf("network %s: %w", n.Name, err)
	}
	o, err := wire.ParseObject(plugin.Get("ipam"))
	if err != nil {
		return nil, fmt.Errorf("network %s: ipam: %w", n.Name, err)
	}
	change(o)
	plugin.Set("ipam", o.Bytes())
	return listOf(n, plugin)
}

// encode returns the JSON of a value that has one.
func encode(v any) json.RawMessage {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}
