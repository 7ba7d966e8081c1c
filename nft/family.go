package nft

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// A family is what differs between IPv4 and IPv6 in rules.
type family struct {
	word         string // in rules
	suffix       string // of maps
	number       byte   // NFPROTO_*
	length       uint32 // of an address, bytes
	saddr, daddr uint32 // offsets in the header, bytes
	addrType     datatype
	multicast    netip.Prefix
}

var (
	ip4 = family{
		word: "ip", suffix: "4", number: unix.NFPROTO_IPV4,
		length: 4, saddr: 12, daddr: 16, addrType: typeIPv4,
		multicast: netip.MustParsePrefix("224.0.0.0/4"),
	}
	ip6 = family{
		word: "ip6", suffix: "6", number: unix.NFPROTO_IPV6,
		length: 16, saddr: 8, daddr: 24, addrType: typeIPv6,
		multicast: netip.MustParsePrefix("ff00::/8"),
	}
	families = [...]family{ip4, ip6}
)

func familyOf(a netip.Addr) family {
	if a.Is4() {
		return ip4
	}
	return ip6
}

// only returns the prefixes of the family, masked, sorted and without duplicates.
func (f family) only(prefixes []netip.Prefix) []netip.Prefix {
	var own []netip.Prefix
	for _, p := range prefixes {
		if familyOf(p.Addr()).number == f.number {
			own = append(own, p.Masked())
		}
	}
	return sortedSet(own)
}
