package ahead

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/ipam"
)

// An Offer is what a network's IPAM plugin gives out of one subnet, as far as its
// configuration tells.
type Offer struct {
	Subnet  netip.Prefix
	Gateway netip.Addr   // invalid: none
	Ranges  []ipam.Range // complete; of static, one for each of its addresses
	Fixed   bool         // static's: the plugin gives the same to all, and keeps no book
}

// Contains reports whether the plugin gives the address out.
func (o *Offer) Contains(a netip.Addr) bool { return ipam.Set(o.Ranges).Contains(a) }

// Within returns what the plugin gives out of a part of the subnet.
func (o *Offer) Within(part netip.Prefix) []ipam.Range {
	var left []ipam.Range
	for _, r := range o.Ranges {
		if r, ok := clip(r, part); ok {
			left = append(left, r)
		}
	}
	return left
}

// clip returns the part of a complete range that is within p.
func clip(r ipam.Range, p netip.Prefix) (ipam.Range, bool) {
	p = p.Masked()
	if p.Addr().Is4() != r.First.Is4() {
		return r, false
	}
	if r.First.Less(p.Addr()) {
		r.First = p.Addr()
	}
	if last := lastOf(p); last.Less(r.Last) {
		r.Last = last
	}
	return r, !r.Last.Less(r.First)
}

// lastOf returns the last address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	end := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(end)*8; bit++ {
		end[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(end)
	return last
}

// Offers returns what the network's IPAM plugin gives, in the order of its
// configuration. Of another plugin than host-local and static that is not known, which is
// an error with cni.CodeInvalidConfig.
func Offers(n *seam.Network) ([]Offer, error) {
	p, err := asked(n)
	if err != nil {
		return nil, err
	}
	conf, err := parse(p.JSON)
	if err != nil {
		return nil, fmt.Errorf("network %s: %w", n.Name, err)
	}
	var sets []ipam.Set
	switch p.IPAM {
	case hostLocal:
		sets, err = conf.sets()
	case static:
		sets, err = conf.fixed()
	default:
		err = cni.Errorf(cni.CodeInvalidConfig, "which subnets ipam %s gives is not known", p.IPAM)
	}
	if err != nil {
		return nil, fmt.Errorf("network %s: %w", n.Name, err)
	}
	var offers []Offer
	for _, r := range slices.Concat(sets...) {
		at := slices.IndexFunc(offers, func(o Offer) bool { return o.Subnet == r.Subnet })
		if at < 0 {
			at = len(offers)
			offers = append(offers, Offer{Subnet: r.Subnet, Gateway: r.Gateway, Fixed: p.IPAM == static})
		}
		offers[at].Ranges = append(offers[at].Ranges, r)
	}
	return offers, nil
}

// config is what must be understood of the IPAM plugins' keys.
type config struct {
	rangeForm               // host-local's old form
	Ranges    [][]rangeForm `json:"ranges"`
	Addresses []struct {
		Address netip.Prefix `json:"address"`
		Gateway string       `json:"gateway"`
	} `json:"addresses"` // static's
}

// rangeForm is a range as host-local's configuration has it; empty means the default.
type rangeForm struct {
	Subnet     string `json:"subnet,omitempty"`
	RangeStart string `json:"rangeStart,omitempty"`
	RangeEnd   string `json:"rangeEnd,omitempty"`
	Gateway    string `json:"gateway,omitempty"`
}

func parse(plugin []byte) (*config, error) {
	var c struct {
		IPAM config `json:"ipam"`
	}
	if err := json.Unmarshal(plugin, &c); err != nil {
		return nil, cni.Errorf(cni.CodeDecoding, "ipam: %w", err)
	}
	return &c.IPAM, nil
}

// sets returns host-local's sets of ranges.
func (c *config) sets() ([]ipam.Set, error) {
	all := c.Ranges
	if c.Subnet != "" {
		all = append([][]rangeForm{{c.rangeForm}}, all...)
	}
	sets := make([]ipam.Set, len(all))
	for i, forms := range all {
		for _, f := range forms {
			r, err := f.parse()
			if err != nil {
				return nil, err
			}
			sets[i] = append(sets[i], r)
		}
		var err error
		if sets[i], err = sets[i].Complete(); err != nil {
			return nil, fmt.Errorf("ipam host-local: %w", err)
		}
	}
	return sets, nil
}

func (f *rangeForm) parse() (r ipam.Range, err error) {
	if r.Subnet, err = netip.ParsePrefix(f.Subnet); err != nil {
		return r, cni.Errorf(cni.CodeInvalidConfig, "ipam host-local: subnet %q is not of the form ADDRESS/LENGTH", f.Subnet)
	}
	for _, a := range []struct {
		value string
		to    *netip.Addr
	}{{f.RangeStart, &r.First}, {f.RangeEnd, &r.Last}, {f.Gateway, &r.Gateway}} {
		if a.value == "" {
			continue
		}
		if *a.to, err = netip.ParseAddr(a.value); err != nil {
			return r, cni.Errorf(cni.CodeInvalidConfig, "ipam host-local: %q is not an IP address", a.value)
		}
	}
	return r, nil
}

// fixed returns static's addresses, as ranges of one address each.
func (c *config) fixed() ([]ipam.Set, error) {
	var sets []ipam.Set
	for _, a := range c.Addresses {
		if !a.Address.IsValid() {
			return nil, cni.Errorf(cni.CodeInvalidConfig, "ipam static: an element of \"addresses\" has no address")
		}
		r := ipam.Range{Subnet: a.Address.Masked(), First: a.Address.Addr(), Last: a.Address.Addr()}
		if a.Gateway != "" {
			gateway, err := netip.ParseAddr(a.Gateway)
			if err != nil {
				return nil, cni.Errorf(cni.CodeInvalidConfig, "ipam static: gateway %q is not an IP address", a.Gateway)
			}
			r.Gateway = gateway
		}
		sets = append(sets, ipam.Set{r})
	}
	return sets, nil
}
