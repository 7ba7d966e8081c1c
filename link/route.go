package link

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/seamnet/seam/cni"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A Route is a route over one link: what CNI says of it, and its preferred source. Of Dst,
// what is beyond its length does not count: the kernel would refuse it.
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
	err := h.send(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, r.message(l, nl.NewRtMsg())...)
	return failure("add route", r.String()+" dev "+l.Name, err)
}

// AppendRoute adds a route beside others to the same destination.
func (h *Handle) AppendRoute(l Link, r Route) error {
	err := h.send(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, r.message(l, nl.NewRtMsg())...)
	return failure("add route", r.String()+" dev "+l.Name, err)
}

// SetRoute adds a route, in the place of one to the same destination if there is one.
func (h *Handle) SetRoute(l Link, r Route) error {
	err := h.send(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, r.message(l, nl.NewRtMsg())...)
	return failure("set route", r.String()+" dev "+l.Name, err)
}

// DeleteRoute deletes a route; that it is missing matches fs.ErrNotExist.
func (h *Handle) DeleteRoute(l Link, r Route) error {
	err := h.send(unix.RTM_DELROUTE, 0, r.message(l, nl.NewRtDelMsg())...)
	return failure("delete route", r.String()+" dev "+l.Name, err)
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
	msg := new(nl.RtMsg)
	msg.Family, msg.Dst_len = familyOf(addr), uint8(addr.BitLen())
	answer, err := h.ask(unix.RTM_GETROUTE, 0, msg, nl.NewRtAttr(unix.RTA_DST, addr.AsSlice()))
	if err != nil {
		return Link{}, failure("route to", addr.String(), err)
	}
	attrs, err := nl.ParseRouteAttrAsMap(answer[msg.Len():])
	over, ok := attrs[unix.RTA_OIF]
	if err != nil || !ok {
		return Link{}, fmt.Errorf("route to %s: none over a link", addr)
	}
	return h.ByIndex(int(binary.NativeEndian.Uint32(over.Value)))
}

// message describes the route over l, on top of what msg says of all routes.
func (r Route) message(l Link, msg *nl.RtMsg) []nl.NetlinkRequestData {
	msg.Family, msg.Dst_len, msg.Scope = familyOf(r.Dst.Addr()), uint8(r.Dst.Bits()), unix.RT_SCOPE_UNIVERSE
	if r.Scope != nil {
		msg.Scope = uint8(*r.Scope)
	}
	if r.OnLink {
		msg.Flags = unix.RTNH_F_ONLINK
	}
	number := func(kind, n int) *nl.RtAttr { return nl.NewRtAttr(kind, nl.Uint32Attr(uint32(n))) }
	data := []nl.NetlinkRequestData{msg, nl.NewRtAttr(unix.RTA_DST, r.Dst.Masked().Addr().AsSlice()), number(unix.RTA_OIF, l.Index)}
	if r.GW.IsValid() {
		data = append(data, nl.NewRtAttr(unix.RTA_GATEWAY, r.GW.AsSlice()))
	}
	if r.Source.IsValid() {
		data = append(data, nl.NewRtAttr(unix.RTA_PREFSRC, r.Source.AsSlice()))
	}
	if r.Table != nil && *r.Table > 0 {
		msg.Table = unix.RT_TABLE_UNSPEC // the attribute's, which goes beyond 255
		data = append(data, number(unix.RTA_TABLE, *r.Table))
	}
	if r.Priority > 0 {
		data = append(data, number(unix.RTA_PRIORITY, r.Priority))
	}
	if r.MTU > 0 || r.AdvMSS > 0 {
		data = append(data, r.metrics())
	}
	return data
}

func (r Route) metrics() *nl.RtAttr {
	metrics := nl.NewRtAttr(unix.RTA_METRICS, nil)
	if r.MTU > 0 {
		metrics.AddRtAttr(unix.RTAX_MTU, nl.Uint32Attr(uint32(r.MTU)))
	}
	if r.AdvMSS > 0 {
		metrics.AddRtAttr(unix.RTAX_ADVMSS, nl.Uint32Attr(uint32(r.AdvMSS)))
	}
	return metrics
}

func familyOf(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
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
