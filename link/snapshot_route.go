package link

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

func (h *Handle) saveRoutes(s *Snapshot) error {
	routes, err := h.dumpRoutes()
	for _, r := range routes {
		if r.wasMade() {
			s.Routes = append(s.Routes, r.Serialize())
		}
	}
	return err
}

// A savedRoute is one as the kernel described it, with the flags and attributes that it
// was made by, and without those that say how it does.
type savedRoute struct{ message }

// dumpRoutes returns the routes of all tables but local.
func (h *Handle) dumpRoutes() ([]savedRoute, error) {
	var routes []savedRoute
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		messages, err := h.dump(unix.RTM_GETROUTE, &nl.RtMsg{RtMsg: unix.RtMsg{Family: family}})
		if err != nil && !errors.Is(err, unix.EAFNOSUPPORT) && !errors.Is(err, unix.EOPNOTSUPP) {
			return nil, failure("list", "routes", err)
		}
		for _, raw := range messages {
			r, err := parseRoute(raw)
			if err != nil {
				return nil, failure("list", "routes", err)
			}
			// A kernel without that family tells of all others.
			if r.family() == family && r.table() != unix.RT_TABLE_LOCAL && r.number(8)&unix.RTM_F_CLONED == 0 {
				routes = append(routes, r)
			}
		}
	}
	return routes, nil
}

func parseRoute(raw []byte) (savedRoute, error) {
	m, err := parseMessage(raw, unix.SizeofRtMsg)
	if err != nil {
		return savedRoute{}, err
	}
	r := savedRoute{m}
	const madeBy = unix.RTNH_F_ONLINK | unix.RTNH_F_PERVASIVE
	r.setNumber(8, r.number(8)&(madeBy|unix.RTM_F_CLONED))
	r.attributes = r.without(unix.RTA_CACHEINFO, unix.RTA_IIF)
	if r.has(rtaNextHop) { // the kernel repeats what the next hop says, but does not take both
		r.attributes = r.without(unix.RTA_OIF, unix.RTA_GATEWAY, unix.RTA_VIA, unix.RTA_MULTIPATH, unix.RTA_ENCAP, unix.RTA_ENCAP_TYPE)
	}
	return r, r.eachHop(func(hop []byte) { hop[2] &= madeBy })
}

func (r savedRoute) family() uint8   { return r.header[0] }
func (r savedRoute) protocol() uint8 { return r.header[5] }
func (r savedRoute) kind() uint8     { return r.header[7] }

func (r savedRoute) table() uint32 {
	if t, ok := r.uint32(unix.RTA_TABLE); ok {
		return t
	}
	return uint32(r.header[4])
}

func (r savedRoute) isDefault() bool {
	return r.header[1] == 0 && r.table() == unix.RT_TABLE_MAIN && r.kind() == unix.RTN_UNICAST
}

// wasMade reports whether someone added the route. Most of what the kernel made it makes
// again, but whoever moves routes to a table of their own leaves them the kernel's mark.
func (r savedRoute) wasMade() bool {
	switch r.protocol() {
	case unix.RTPROT_RA, unix.RTPROT_REDIRECT:
		return false
	case unix.RTPROT_KERNEL:
		dst := r.get(unix.RTA_DST)
		linkLocal := r.family() == unix.AF_INET6 && len(dst) == 16 && (dst[0] == 0xfe && dst[1]&0xc0 == 0x80 || dst[0] == 0xff)
		return r.kind() == unix.RTN_UNICAST && !linkLocal
	}
	return true
}

// eachHop gives each next hop of a route that has several, to be changed in place: struct
// rtnexthop, and what follows it.
func (r savedRoute) eachHop(change func(hop []byte)) error {
	for hops := r.get(unix.RTA_MULTIPATH); len(hops) > 0; {
		size := 0
		if len(hops) >= unix.SizeofRtNexthop {
			size = int(binary.NativeEndian.Uint16(hops))
		}
		if size < unix.SizeofRtNexthop || size > len(hops) {
			return unix.EBADMSG
		}
		change(hops[:size])
		hops = hops[min(aligned(size), len(hops)):]
	}
	return nil
}

// links returns the indexes of the links that the route is over.
func (r savedRoute) links() []int {
	var over []int
	if index, ok := r.uint32(unix.RTA_OIF); ok {
		over = append(over, int(index))
	}
	_ = r.eachHop(func(hop []byte) { over = append(over, int(binary.NativeEndian.Uint32(hop[4:]))) })
	return over
}

// exchange replaces the indexes of links.
func (r savedRoute) exchange(index func(was uint32) uint32) {
	if was, ok := r.uint32(unix.RTA_OIF); ok {
		r.set(unix.RTA_OIF, binary.NativeEndian.AppendUint32(nil, index(was)))
	}
	_ = r.eachHop(func(hop []byte) { binary.NativeEndian.PutUint32(hop[4:], index(binary.NativeEndian.Uint32(hop[4:]))) })
}

// depth is 0 of a route to neighbours, 1 of one for which the kernel must find another
// one first.
func (r savedRoute) depth() int {
	if r.has(unix.RTA_GATEWAY) || r.has(unix.RTA_VIA) || r.has(unix.RTA_MULTIPATH) || r.has(rtaNextHop) {
		return 1
	}
	return 0
}

// key is what the kernel finds the route by.
func (r savedRoute) key() string {
	k := message{slices.Clone(r.header[:4]), nil} // family, lengths, type of service
	for _, a := range r.attributes {
		if a.is(unix.RTA_DST) || a.is(unix.RTA_SRC) || a.is(unix.RTA_PRIORITY) {
			k.attributes = append(k.attributes, a)
		}
	}
	k.header = binary.NativeEndian.AppendUint32(k.header, r.table())
	return string(k.Serialize())
}

func (h *Handle) saveNextHops(s *Snapshot) error {
	messages, err := h.dump(unix.RTM_GETNEXTHOP, rawAttributes(make([]byte, sizeofNextHopHeader)))
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) { // kernels before 5.3
		return nil
	}
	for _, raw := range messages {
		s.NextHops = append(s.NextHops, SavedMessage(raw))
	}
	return failure("list", "next hops", err)
}

const (
	sizeofNextHopHeader = 8  // struct nhmsg
	nhaOIF              = 5  // NHA_OIF
	nhaOpFlags          = 14 // NHA_OP_FLAGS
	nhaGroupStats       = 15 // NHA_GROUP_STATS
	nhaStatsUsed        = 17 // NHA_HW_STATS_USED
	rtaNextHop          = 30 // RTA_NH_ID
)
