package link

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/seamnet/seam/cni"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A Route is a route over one link: what CNI says of it, and its preferred source.
type Route struct {
	cni.Route
	Source netip.Addr // invalid: the kernel chooses
	OnLink bool       // the gateway is a neighbour even if no subnet of the link holds it
}

func (r Route) String() string {
	s := r.Dst.String()
	if r.GW.IsValid() {
		s += " via " + r.GW.String()
	}
	if r.Source.IsValid() {
		s += " src " + r.Source.String()
	}
	return s
}

// AddRoute adds a route; the same one already there matches fs.ErrExist.
func (h *Handle) AddRoute(l Link, r Route) error {
	return failure("add route", r.String()+" dev "+l.Name, h.nl.RouteAdd(toNetlink(l, r)))
}

// AppendRoute adds a route beside others to the same destination.
func (h *Handle) AppendRoute(l Link, r Route) error {
	return failure("add route", r.String()+" dev "+l.Name, h.nl.RouteAppend(toNetlink(l, r)))
}

// SetRoute adds a route, in the place of one to the same destination if there is one.
func (h *Handle) SetRoute(l Link, r Route) error {
	return failure("set route", r.String()+" dev "+l.Name, h.nl.RouteReplace(toNetlink(l, r)))
}

// DeleteRoute deletes a route; that it is missing matches fs.ErrNotExist.
func (h *Handle) DeleteRoute(l Link, r Route) error {
	return failure("delete route", r.String()+" dev "+l.Name, h.nl.RouteDel(toNetlink(l, r)))
}

// Routes returns the routes over a link, of all tables but the kernel's own local one.
func (h *Handle) Routes(l Link) ([]Route, error) {
	filter := &netlink.Route{Table: unix.RT_TABLE_UNSPEC}
	all, err := retry(func() ([]netlink.Route, error) {
		return h.nl.RouteListFiltered(netlink.FAMILY_ALL, filter, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return nil, failure("routes over", l.Name, err)
	}
	var routes []Route
	for _, r := range all {
		for _, hop := range hops(r) {
			if hop.LinkIndex == l.Index && r.Table != unix.RT_TABLE_LOCAL {
				routes = append(routes, routeFrom(hop))
			}
		}
	}
	return routes, nil
}

// hops returns a route for each of its next hops: of IPv6, the kernel shows what was
// added beside another route to the same destination as one route with several.
func hops(r netlink.Route) []netlink.Route {
	if len(r.MultiPath) == 0 {
		return []netlink.Route{r}
	}
	var all []netlink.Route
	for _, next := range r.MultiPath {
		one := r
		one.LinkIndex, one.Gw, one.MultiPath = next.LinkIndex, next.Gw, nil
		all = append(all, one)
	}
	return all
}

// LinkTo returns the link over which the namespace reaches addr.
func (h *Handle) LinkTo(addr netip.Addr) (Link, error) {
	routes, err := h.nl.RouteGet(addr.AsSlice())
	if err != nil {
		return Link{}, failure("route to", addr.String(), err)
	}
	if len(routes) == 0 || routes[0].LinkIndex == 0 {
		return Link{}, fmt.Errorf("route to %s: none over a link", addr)
	}
	return h.ByIndex(routes[0].LinkIndex)
}

func toNetlink(l Link, r Route) *netlink.Route {
	n := &netlink.Route{LinkIndex: l.Index, Dst: ipNet(r.Dst), MTU: r.MTU, AdvMSS: r.AdvMSS, Priority: r.Priority}
	if r.GW.IsValid() {
		n.Gw = r.GW.AsSlice()
	}
	if r.Source.IsValid() {
		n.Src = r.Source.AsSlice()
	}
	if r.OnLink {
		n.Flags = int(netlink.FLAG_ONLINK)
	}
	if r.Table != nil {
		n.Table = *r.Table
	}
	if r.Scope != nil {
		n.Scope = netlink.Scope(*r.Scope)
	}
	return n
}

func routeFrom(n netlink.Route) Route {
	r := Route{Source: addrOf(n.Src), OnLink: n.Flags&int(netlink.FLAG_ONLINK) != 0}
	r.Dst, r.GW = prefixOf(n.Dst), addrOf(n.Gw)
	if !r.Dst.IsValid() {
		r.Dst = netip.PrefixFrom(unspecified(n.Family), 0)
	}
	r.MTU, r.AdvMSS, r.Priority = n.MTU, n.AdvMSS, n.Priority
	table, scope := n.Table, int(n.Scope)
	r.Table, r.Scope = &table, &scope
	return r
}

func unspecified(family int) netip.Addr {
	if family == unix.AF_INET6 {
		return netip.IPv6Unspecified()
	}
	return netip.AddrFrom4([4]byte(net.IPv4zero.To4()))
}
