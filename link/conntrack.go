package link

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Flows selects tracked connections of one family: those that have every value that
// is set. At least one must be.
type Flows struct {
	IPv6     bool
	Protocol byte // of IP, unix.IPPROTO_UDP say; needed if a port is set

	// Where the first packet was sent to, before any translation.
	Dst     netip.Addr
	DstPort uint16

	// Who answers: after a translation, its target.
	Answerer     netip.Addr
	AnswererPort uint16
}

func (f Flows) String() string {
	s := "ipv4"
	if f.IPv6 {
		s = "ipv6"
	}
	for _, part := range []struct {
		name string
		set  bool
		v    any
	}{
		{"proto", f.Protocol != 0, f.Protocol}, {"dst", f.Dst.IsValid(), f.Dst}, {"dport", f.DstPort != 0, f.DstPort},
		{"reply-src", f.Answerer.IsValid(), f.Answerer}, {"reply-sport", f.AnswererPort != 0, f.AnswererPort},
	} {
		if part.set {
			s += fmt.Sprintf(" %s %v", part.name, part.v)
		}
	}
	return s
}

// DeleteFlows makes the calling thread's namespace forget the tracked connections,
// so that their next packets are translated anew. To match none is no error.
//
// Newer kernels do it in one message, and look at nothing if they track nothing.
// Others list what matches, and those before 5.8 list all.
func DeleteFlows(list ...Flows) error {
	var errs []error
	for _, f := range list {
		if f == (Flows{IPv6: f.IPv6}) {
			errs = append(errs, errors.New("delete tracked connections: without a criterion that would be all"))
			continue
		}
		if err := f.delete(); err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("delete tracked connections %s: %w", f, err))
		}
	}
	return errors.Join(errs...)
}

func (f Flows) delete() error {
	if f.IPv6 && (f.Dst.IsValid() || f.Answerer.IsValid()) {
		return f.deleteListed() // see tupleParts.filtersAddr
	}
	err := execute(f.request(ctDelete, unix.NLM_F_ACK), nil)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return f.deleteListed()
	}
	return err
}

// Messages and attributes of nfnetlink_conntrack.h.
const (
	ctGet        = unix.NFNL_SUBSYS_CTNETLINK<<8 | nl.IPCTNL_MSG_CT_GET
	ctDelete     = unix.NFNL_SUBSYS_CTNETLINK<<8 | nl.IPCTNL_MSG_CT_DELETE
	ctFilter     = 25 // CTA_FILTER
	ctFilterOrig = 1  // CTA_FILTER_ORIG_FLAGS
	ctFilterBack = 2  // CTA_FILTER_REPLY_FLAGS

	// Which parts of a tuple a filter compares: enum ctnetlink_filter_flags.
	compareSrc     = 1 << 0
	compareDst     = 1 << 1
	compareProto   = 1 << 3
	compareSrcPort = 1 << 4
	compareDstPort = 1 << 5
)

// deleteListed deletes the flows one by one, for kernels that cannot by a filter.
func (f Flows) deleteListed() error { return f.deleteMatching(f.request(ctGet, unix.NLM_F_DUMP)) }

// deleteMatching deletes the flows that the list holds and match.
func (f Flows) deleteMatching(list *nl.NetlinkRequest) error {
	var found [][]syscall.NetlinkRouteAttr
	// A table that changed meanwhile may be told twice or with gaps, which a second
	// look would not cure: flows come and go all the time.
	err := execute(list, func(b []byte) {
		if attrs, err := nl.ParseRouteAttr(b[nl.SizeofNfgenmsg:]); err == nil && f.match(attrs) {
			found = append(found, attrs)
		}
	})
	if err != nil && !errors.Is(err, nl.ErrDumpInterrupted) {
		return err
	}
	var errs []error
	for _, attrs := range found {
		r := f.newRequest(ctDelete, unix.NLM_F_ACK)
		for _, a := range attrs {
			switch kind := int(a.Attr.Type) &^ unix.NLA_F_NESTED; kind {
			case nl.CTA_TUPLE_ORIG, nl.CTA_ID, nl.CTA_ZONE:
				r.AddData(nl.NewRtAttr(int(a.Attr.Type), a.Value))
			}
		}
		if err := execute(r, nil); err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// match is the filter once more: kernels before 5.8 pass it over, and it lacks IPv6
// addresses.
func (f Flows) match(attrs []syscall.NetlinkRouteAttr) bool {
	orig, back := f.parts(nl.CTA_TUPLE_ORIG), f.parts(nl.CTA_TUPLE_REPLY)
	return orig.within(attrs) && back.within(attrs)
}

func execute(r *nl.NetlinkRequest, each func([]byte)) error {
	return r.ExecuteIter(unix.NETLINK_NETFILTER, 0, func(b []byte) bool {
		if each != nil {
			each(b)
		}
		return true
	})
}

// request is about the flows: their two tuples, as far as they are set, and which
// parts of these count.
func (f Flows) request(kind, flags int) *nl.NetlinkRequest {
	r := f.newRequest(kind, flags)
	filter := nested(ctFilter)
	for _, p := range []tupleParts{f.parts(nl.CTA_TUPLE_ORIG), f.parts(nl.CTA_TUPLE_REPLY)} {
		r.AddData(p.encode())
		filter.AddRtAttr(p.filterFlags, nl.Uint32Attr(p.compare()))
	}
	r.AddData(filter)
	return r
}

func (f Flows) newRequest(kind, flags int) *nl.NetlinkRequest {
	family := uint8(unix.AF_INET)
	if f.IPv6 {
		family = unix.AF_INET6
	}
	r := nl.NewNetlinkRequest(kind, flags)
	r.AddData(&nl.Nfgenmsg{NfgenFamily: family})
	return r
}

// tupleParts is what a filter asks of one of a flow's two tuples: an address and a
// port of one end, and the protocol.
type tupleParts struct {
	kind, filterFlags        int
	addr                     netip.Addr
	proto                    byte
	port                     uint16
	v4, v6, portAttr         int
	compareAddr, comparePort uint32
}

func (f Flows) parts(kind int) tupleParts {
	if kind == nl.CTA_TUPLE_ORIG {
		return tupleParts{
			kind: kind, filterFlags: ctFilterOrig, addr: f.Dst, proto: f.Protocol, port: f.DstPort,
			v4: nl.CTA_IP_V4_DST, v6: nl.CTA_IP_V6_DST, portAttr: nl.CTA_PROTO_DST_PORT,
			compareAddr: compareDst, comparePort: compareDstPort,
		}
	}
	return tupleParts{
		kind: kind, filterFlags: ctFilterBack, addr: f.Answerer, proto: f.Protocol, port: f.AnswererPort,
		v4: nl.CTA_IP_V4_SRC, v6: nl.CTA_IP_V6_SRC, portAttr: nl.CTA_PROTO_SRC_PORT,
		compareAddr: compareSrc, comparePort: compareSrcPort,
	}
}

// filtersAddr reports whether the kernel is to compare the address. It must not if
// that is of IPv6: kernels up to 6.18 at least then take exactly the flows that have
// another one (ctnetlink_filter_match_tuple reads ipv6_addr_cmp as "is equal").
func (p tupleParts) filtersAddr() bool { return p.addr.Is4() }

func (p tupleParts) compare() (flags uint32) {
	if p.filtersAddr() {
		flags |= p.compareAddr
	}
	if p.proto != 0 {
		flags |= compareProto
	}
	if p.port != 0 {
		flags |= p.comparePort
	}
	return flags
}

func (p tupleParts) addrAttr() int {
	if p.addr.Is6() {
		return p.v6
	}
	return p.v4
}

func (p tupleParts) encode() *nl.RtAttr {
	ip, proto := nested(nl.CTA_TUPLE_IP), nested(nl.CTA_TUPLE_PROTO)
	if p.filtersAddr() {
		ip.AddRtAttr(p.addrAttr(), p.addr.AsSlice())
	}
	proto.AddRtAttr(nl.CTA_PROTO_NUM, nl.Uint8Attr(p.proto))
	if p.port != 0 {
		proto.AddRtAttr(p.portAttr, nl.BEUint16Attr(p.port))
	}
	tuple := nested(p.kind)
	tuple.AddChild(ip)
	tuple.AddChild(proto)
	return tuple
}

// within reports whether the flow has the parts that are set.
func (p tupleParts) within(flow []syscall.NetlinkRouteAttr) bool {
	has := func(part, kind int, want []byte) bool {
		return bytes.Equal(find(flow, p.kind, part, kind), want)
	}
	return (!p.addr.IsValid() || has(nl.CTA_TUPLE_IP, p.addrAttr(), p.addr.AsSlice())) &&
		(p.proto == 0 || has(nl.CTA_TUPLE_PROTO, nl.CTA_PROTO_NUM, nl.Uint8Attr(p.proto))) &&
		(p.port == 0 || has(nl.CTA_TUPLE_PROTO, p.portAttr, nl.BEUint16Attr(p.port)))
}

// find returns the value of the attribute at the end of a path, nil if there is none.
func find(attrs []syscall.NetlinkRouteAttr, path ...int) []byte {
	for _, a := range attrs {
		if int(a.Attr.Type)&^unix.NLA_F_NESTED != path[0] {
			continue
		}
		if len(path) == 1 {
			return a.Value
		}
		inner, err := nl.ParseRouteAttr(a.Value)
		if err != nil {
			return nil
		}
		return find(inner, path[1:]...)
	}
	return nil
}

func nested(kind int) *nl.RtAttr { return nl.NewRtAttr(unix.NLA_F_NESTED|kind, nil) }
