package link

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A Filter says what is done with the packets that have an address in a subnet.
type Filter struct {
	Subnet netip.Prefix // invalid: all packets
	Source bool         // it is compared with where they come from, not with where they go

	// Redirect is the index of the link that they are queued on; 0: they are not
	// redirected. Reported, -1: to one that is gone.
	Redirect int
	// Shaped puts them into the class of AddHTB. What is neither shaped nor redirected
	// just passes.
	Shaped bool
}

func (f Filter) String() string {
	s := "all"
	switch {
	case f.Subnet.IsValid() && f.Source:
		s = "from " + f.Subnet.String()
	case f.Subnet.IsValid():
		s = "to " + f.Subnet.String()
	}
	switch {
	case f.Redirect != 0:
		return fmt.Sprintf("%s redirect to link %d", s, f.Redirect)
	case f.Shaped:
		return s + " shaped"
	}
	return s + " pass"
}

// Filters of one priority are of one protocol; those for all packets come last.
const (
	priorityIPv4 = 1 + iota
	priorityIPv6
	priorityAll
)

func (h *Handle) addFilter(l Link, parent uint32, f Filter) error {
	u := &netlink.U32{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: l.Index, Parent: parent, Priority: priorityAll, Protocol: unix.ETH_P_ALL},
		// Without an action, a class ends the search; the handle alone is the direct
		// queue of htb, and of no meaning at ingress.
		ClassId: rootHandle,
	}
	if f.Subnet.IsValid() {
		u.Priority, u.Protocol = priorityIPv4, unix.ETH_P_IP
		if f.Subnet.Addr().Is6() {
			u.Priority, u.Protocol = priorityIPv6, unix.ETH_P_IPV6
		}
		u.Sel = f.selector()
	}
	if f.Shaped {
		u.ClassId = rootHandle | shapedClass
	}
	if f.Redirect != 0 {
		u.Actions = []netlink.Action{netlink.NewMirredAction(f.Redirect)}
	}
	return failure("add filter to", l.Name+", "+f.String(), h.nl.FilterAdd(u))
}

// offsets of the addresses from the beginning of the IP header.
func (f Filter) offset() int32 {
	switch v6 := f.Subnet.Addr().Is6(); {
	case v6 && f.Source:
		return 8
	case v6:
		return 24
	case f.Source:
		return 12
	}
	return 16
}

// selector compares the address in words of 32 bits; nil compares nothing.
func (f Filter) selector() *netlink.TcU32Sel {
	address, offset := f.Subnet.Masked().Addr().AsSlice(), f.offset()
	sel := &netlink.TcU32Sel{Flags: netlink.TC_U32_TERMINAL}
	for rest := f.Subnet.Bits(); rest > 0; rest -= 32 {
		sel.Keys = append(sel.Keys, netlink.TcU32Key{
			Mask: ^uint32(0) << (32 - min(rest, 32)), Val: binary.BigEndian.Uint32(address), Off: offset,
		})
		address, offset = address[4:], offset+4
	}
	if sel.Keys == nil {
		return nil
	}
	// The library sends as many keys as there is room for.
	sel.Keys = slices.Clip(sel.Keys)
	return sel
}

// checkFilters compares the filters that a queueing discipline has with those wanted.
func (h *Handle) checkFilters(l Link, parent uint32, want []Filter) error {
	has, err := h.filters(l, parent)
	if err != nil {
		return err
	}
	for _, f := range want {
		f.Subnet = f.Subnet.Masked()
		f.Source = f.Source && f.Subnet.Bits() > 0 // of a whole family, the kernel is not told whose address
		if !slices.Contains(has, f) {
			return fmt.Errorf("filters of %s: %s is gone", l.Name, f)
		}
	}
	return nil
}

// IngressFilters returns the filters that what comes in by the link passes.
func (h *Handle) IngressFilters(l Link) ([]Filter, error) { return h.filters(l, ingressHandle) }

func (h *Handle) filters(l Link, parent uint32) ([]Filter, error) {
	all, err := retry(func() ([]netlink.Filter, error) { return h.nl.FilterList(device(l), parent) })
	if err != nil {
		return nil, failure("filters of", l.Name, err)
	}
	var filters []Filter
	for _, n := range all {
		if u, ok := n.(*netlink.U32); ok && u.Sel != nil {
			filters = append(filters, filterFrom(u))
		}
	}
	return filters, nil
}

func filterFrom(u *netlink.U32) Filter {
	f := Filter{Redirect: u.RedirIndex}
	if f.Redirect == 0 && slices.ContainsFunc(u.Actions, func(a netlink.Action) bool { return a.Type() == "mirred" }) {
		f.Redirect = -1
	}
	f.Shaped = f.Redirect == 0 && u.ClassId == rootHandle|shapedClass
	var address []byte
	switch u.Protocol {
	case unix.ETH_P_IP:
		address = make([]byte, 4)
	case unix.ETH_P_IPV6:
		address = make([]byte, 16)
	default:
		return f
	}
	length := 0
	for i, k := range u.Sel.Keys {
		if i*4 < len(address) {
			binary.BigEndian.PutUint32(address[i*4:], k.Val)
			length += bits.OnesCount32(k.Mask)
		}
	}
	addr, _ := netip.AddrFromSlice(address)
	f.Subnet = netip.PrefixFrom(addr, length)
	f.Source = true
	f.Source = length > 0 && u.Sel.Keys[0].Off == f.offset()
	return f
}
