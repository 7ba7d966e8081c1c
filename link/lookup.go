package link

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A Lookup is a packet for which the kernel is asked where it would send it.
type Lookup struct {
	To       netip.Addr
	From     netip.Addr // invalid: the kernel chooses; required with In
	In       int        // index of the link by which it comes; 0: it is sent from here
	Mark     uint32
	Protocol byte   // of IP; 0: none, and then no ports
	FromPort uint16 // for rules that look at ports
	ToPort   uint16
}

func (l Lookup) String() string {
	s := l.To.String()
	if l.From.IsValid() {
		s += " from " + l.From.String()
	}
	if l.In != 0 {
		s += fmt.Sprintf(" iif %d", l.In)
	}
	if l.Mark != 0 {
		s += fmt.Sprintf(" mark %#x", l.Mark)
	}
	return s
}

// A Decision is what the kernel would do with the packet of a Lookup.
type Decision struct {
	Type   string       // unicast, local, broadcast, …: ip-route(8)'s words
	Dst    netip.Prefix // of the route that was chosen; invalid where the kernel does not tell
	Table  int          // in which it stands
	GW     netip.Addr   // invalid: the destination is a neighbour
	Out    int          // index of the link by which it leaves
	Source netip.Addr   // that a packet sent from here would get
	MTU    int          // bytes, of the path; 0: the link's
}

// routeTypes are ip-route(8)'s words for RTN_…
var routeTypes = [...]string{
	unix.RTN_UNSPEC: "unspecified", unix.RTN_UNICAST: "unicast", unix.RTN_LOCAL: "local", unix.RTN_BROADCAST: "broadcast", unix.RTN_ANYCAST: "anycast",
	unix.RTN_MULTICAST: "multicast", unix.RTN_BLACKHOLE: "blackhole", unix.RTN_UNREACHABLE: "unreachable",
	unix.RTN_PROHIBIT: "prohibit", unix.RTN_THROW: "throw", unix.RTN_NAT: "nat",
}

// Decide asks the kernel's routing for the packet. Where that drops it, the error is the
// one that it has for that: unix.ENETUNREACH without a route, EHOSTUNREACH for a packet
// that would have to be forwarded where nothing is, or by a route of type unreachable,
// EXDEV for one that reverse path filtering drops, EACCES by one of type prohibit, and
// EINVAL by a blackhole.
func (h *Handle) Decide(l Lookup) (Decision, error) {
	answer, err := h.ask(unix.RTM_GETROUTE, 0, l.message(unix.RTM_F_LOOKUP_TABLE)...)
	if err != nil {
		return Decision{}, fmt.Errorf("route to %s: %w", l, err)
	}
	d, err := decision(answer)
	if err != nil {
		return d, fmt.Errorf("route to %s: %w", l, err)
	}
	// The same question once more, for the entry itself and not what comes of it. Kernels
	// before 4.13 know of no such, and then the route's prefix is not known.
	const fibMatch = 0x2000 // RTM_F_FIB_MATCH
	if answer, err := h.ask(unix.RTM_GETROUTE, 0, l.message(unix.RTM_F_LOOKUP_TABLE|fibMatch)...); err == nil {
		if entry, err := decision(answer); err == nil {
			d.Dst, d.Table = entry.Dst, entry.Table
		}
	}
	return d, nil
}

func (l Lookup) message(flags uint32) []nl.NetlinkRequestData {
	msg := new(nl.RtMsg)
	msg.Family, msg.Dst_len, msg.Flags = familyOf(l.To), uint8(l.To.BitLen()), flags
	data := []nl.NetlinkRequestData{msg, nl.NewRtAttr(unix.RTA_DST, l.To.AsSlice())}
	if l.From.IsValid() {
		msg.Src_len = uint8(l.From.BitLen())
		data = append(data, nl.NewRtAttr(unix.RTA_SRC, l.From.AsSlice()))
	}
	if l.In != 0 {
		data = append(data, nl.NewRtAttr(unix.RTA_IIF, nl.Uint32Attr(uint32(l.In))))
	}
	if l.Mark != 0 {
		data = append(data, nl.NewRtAttr(unix.RTA_MARK, nl.Uint32Attr(l.Mark)))
	}
	if l.Protocol == unix.IPPROTO_TCP || l.Protocol == unix.IPPROTO_UDP {
		data = append(data, nl.NewRtAttr(unix.RTA_IP_PROTO, nl.Uint8Attr(l.Protocol)),
			nl.NewRtAttr(unix.RTA_SPORT, nl.BEUint16Attr(l.FromPort)), nl.NewRtAttr(unix.RTA_DPORT, nl.BEUint16Attr(l.ToPort)))
	}
	return data
}

func decision(answer []byte) (d Decision, err error) {
	if len(answer) < unix.SizeofRtMsg {
		return d, unix.EBADMSG
	}
	msg := nl.DeserializeRtMsg(answer)
	attrs, err := nl.ParseRouteAttr(answer[unix.SizeofRtMsg:])
	if err != nil {
		return d, err
	}
	if int(msg.Type) < len(routeTypes) {
		d.Type = routeTypes[msg.Type]
	}
	dst := netip.IPv4Unspecified()
	if msg.Family == unix.AF_INET6 {
		dst = netip.IPv6Unspecified()
	}
	for _, a := range attrs {
		switch a.Attr.Type {
		case unix.RTA_DST:
			dst, _ = netip.AddrFromSlice(a.Value)
		case unix.RTA_GATEWAY:
			d.GW, _ = netip.AddrFromSlice(a.Value)
		case unix.RTA_PREFSRC:
			d.Source, _ = netip.AddrFromSlice(a.Value)
		case unix.RTA_OIF:
			d.Out = int(number(a.Value))
		case unix.RTA_TABLE:
			d.Table = int(number(a.Value))
		case unix.RTA_VIA:
			if len(a.Value) > 2 {
				d.GW, _ = netip.AddrFromSlice(a.Value[2:])
			}
		case unix.RTA_METRICS:
			d.MTU = int(number(metric(a, unix.RTAX_MTU)))
		}
	}
	d.Dst = netip.PrefixFrom(dst, int(msg.Dst_len))
	return d, nil
}

func metric(metrics syscall.NetlinkRouteAttr, kind int) []byte {
	inner, err := nl.ParseRouteAttr(metrics.Value)
	if err != nil {
		return nil
	}
	return find(inner, kind)
}

// number reads an attribute of four bytes; what is shorter is 0.
func number(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}
