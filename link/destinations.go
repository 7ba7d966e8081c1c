package link

import (
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Destinations returns where the namespace's routes lead, of all tables and links, each
// once: not for the path of an attachment. Default routes, which lead everywhere, are left
// out, and so is what every link has by itself: link-local and multicast addresses, and the
// kernel's own table of local ones.
func (h *Handle) Destinations() ([]netip.Prefix, error) {
	filter := &netlink.Route{Table: unix.RT_TABLE_UNSPEC}
	routes, err := retry(func() ([]netlink.Route, error) {
		return h.nl.RouteListFiltered(netlink.FAMILY_ALL, filter, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return nil, failure("list", "routes", err)
	}
	var all []netip.Prefix
	seen := make(map[netip.Prefix]bool)
	for _, r := range routes {
		if r.Dst == nil || r.Table == unix.RT_TABLE_LOCAL {
			continue
		}
		p := prefixOf(r.Dst)
		if a := p.Addr(); p.Bits() == 0 || a.IsLinkLocalUnicast() || a.IsMulticast() || seen[p] {
			continue
		}
		seen[p] = true
		all = append(all, p)
	}
	return all, nil
}
