package link

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// DefaultRouteLink returns the link of the main table's default route, IPv4's first; of
// several, the one with the lowest metric. That there is none matches fs.ErrNotExist.
//
// The kernel finds a route to an address at once, and says which it is. Only where that is
// not the main table's default route, because of a rule or a route to that very
// address, is the table listed.
func (h *Handle) DefaultRouteLink() (Link, error) {
	// Nobody has these addresses (RFC 5737, RFC 3849): nearly every routing table reaches
	// them by its default route.
	for _, addr := range []netip.Addr{netip.AddrFrom4([4]byte{203, 0, 113, 1}), netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 15: 1})} {
		routes, err := h.nl.RouteGetWithOptions(addr.AsSlice(), &netlink.RouteGetOptions{FIBMatch: true})
		if err != nil || defaultHop(routes) == 0 {
			if routes, err = h.mainTable(addr); err != nil {
				return Link{}, failure("list", "routes", err)
			}
		}
		if index := defaultHop(routes); index != 0 {
			return h.ByIndex(index)
		}
	}
	return Link{}, fmt.Errorf("default route: %w", notThere)
}

// mainTable returns the main table's routes of the address's family.
func (h *Handle) mainTable(of netip.Addr) ([]netlink.Route, error) {
	family := netlink.FAMILY_V6
	if of.Is4() {
		family = netlink.FAMILY_V4
	}
	main := &netlink.Route{Table: unix.RT_TABLE_MAIN}
	return retry(func() ([]netlink.Route, error) { return h.nl.RouteListFiltered(family, main, netlink.RT_FILTER_TABLE) })
}

// defaultHop returns the index of the link of the first of the main table's default
// routes, 0 if there is none.
func defaultHop(routes []netlink.Route) int {
	for _, r := range routes {
		isDefault := r.Dst == nil || prefixOf(r.Dst).Bits() == 0
		if !isDefault || r.Table != unix.RT_TABLE_MAIN || r.Type != unix.RTN_UNICAST {
			continue
		}
		for _, hop := range hops(r) {
			if hop.LinkIndex != 0 {
				return hop.LinkIndex
			}
		}
	}
	return 0
}
