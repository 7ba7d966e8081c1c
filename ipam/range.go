package ipam

import (
	"errors"
	"fmt"
	"net/netip"
)

// A Range is a run of a subnet's addresses. Only Subnet is required; Complete
// fills in the rest.
type Range struct {
	Subnet  netip.Prefix // network address and length, without host bits
	First   netip.Addr   // inclusive; default: the subnet's first host
	Last    netip.Addr   // inclusive; default: the subnet's last host
	Gateway netip.Addr   // never given out; default: the subnet's first host
}

// minHostBits leaves a subnet two hosts beside the addresses that no host can
// have: a /30 or a /126 is the smallest.
const minHostBits = 2

// Complete returns the range with its defaults filled in, or a sentence that says
// why it cannot be used. The network address and, of IPv4, the broadcast address
// may bound a range but are left out of it: no host can have them.
func (r Range) Complete() (Range, error) {
	if err := checkSubnet(r.Subnet); err != nil {
		return Range{}, err
	}
	lowest, highest := hosts(r.Subnet)
	for _, a := range []struct {
		name  string
		value *netip.Addr
		def   netip.Addr
	}{
		{"range start", &r.First, lowest},
		{"range end", &r.Last, highest},
		{"gateway", &r.Gateway, lowest},
	} {
		if err := within(r.Subnet, a.name, a.value, a.def); err != nil {
			return Range{}, err
		}
	}
	if r.Last.Less(r.First) {
		return Range{}, fmt.Errorf("range start %s comes after range end %s", r.First, r.Last)
	}
	if r.Last.Less(lowest) || highest.Less(r.First) {
		return Range{}, fmt.Errorf("range %s holds no address that a host of %s can have", r, r.Subnet)
	}
	if r.First.Less(lowest) {
		r.First = lowest
	}
	if highest.Less(r.Last) {
		r.Last = highest
	}
	return r, nil
}

// checkSubnet reports why no addresses can be given out of a subnet.
func checkSubnet(s netip.Prefix) error {
	switch {
	case !s.IsValid():
		return errors.New("no subnet is given")
	case s.Addr().Is4In6():
		return fmt.Errorf("subnet %s is an IPv4 subnet in IPv6 form; write it as IPv4", s)
	case s.Bits() == 0:
		return fmt.Errorf("subnet %s holds every address there is; give one of your own", s)
	case s != s.Masked():
		return fmt.Errorf("subnet %s has host bits set; the network address is %s", s, s.Masked())
	case s.Bits() > s.Addr().BitLen()-minHostBits:
		return fmt.Errorf("subnet %s is too small for hosts and a gateway; at most /%d", s, s.Addr().BitLen()-minHostBits)
	}
	return nil
}

// within sets an address that is not given to its default, and brings one that is
// into the form in which addresses compare.
func within(subnet netip.Prefix, name string, a *netip.Addr, def netip.Addr) error {
	if !a.IsValid() {
		*a = def
		return nil
	}
	*a = a.Unmap()
	switch {
	case a.Is4() != subnet.Addr().Is4():
		return fmt.Errorf("%s %s is not of the family of subnet %s", name, a, subnet)
	case !subnet.Contains(*a):
		return fmt.Errorf("%s %s is outside of subnet %s", name, a, subnet)
	}
	return nil
}

// hosts returns the first and the last address that a host of the subnet can have.
// An IPv6 subnet's network address belongs to its routers (RFC 4291, 2.6.1).
func hosts(s netip.Prefix) (first, last netip.Addr) {
	end := s.Addr().AsSlice()
	for bit := s.Bits(); bit < len(end)*8; bit++ {
		end[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ = netip.AddrFromSlice(end)
	if last.Is4() {
		last = last.Prev()
	}
	return s.Addr().Next(), last
}

// Contains reports whether the address is one of a complete range's.
func (r Range) Contains(a netip.Addr) bool {
	return a.Is4() == r.First.Is4() && !a.Less(r.First) && !r.Last.Less(a)
}

// Overlaps reports whether two complete ranges share an address. Their subnets may
// be the same or overlap.
func (r Range) Overlaps(o Range) bool {
	return r.First.Is4() == o.First.Is4() && !r.Last.Less(o.First) && !o.Last.Less(r.First)
}

// Prefix returns an address of the range with its subnet's length, as an interface
// has it.
func (r Range) Prefix(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, r.Subnet.Bits()) }

// String returns FIRST-LAST.
func (r Range) String() string { return r.First.String() + "-" + r.Last.String() }
