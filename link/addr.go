package link

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// An Addr is an address of a link.
type Addr struct {
	Prefix netip.Prefix // the address with its subnet's length

	// NoDAD makes an IPv6 address usable at once, without asking whether someone
	// else has it: right where the caller has given out every address of the link.
	NoDAD bool
	// NoPrefixRoute keeps the kernel from adding the subnet's route.
	NoPrefixRoute bool

	Tentative bool // reported: duplicate detection is going on
	Duplicate bool // reported: duplicate detection found another holder
}

// AddAddr adds an address; one that is there already matches fs.ErrExist.
func (h *Handle) AddAddr(l Link, a Addr) error {
	msg := nl.NewIfAddrmsg(int(familyOf(a.Prefix.Addr())))
	msg.Index, msg.Prefixlen = uint32(l.Index), uint8(a.Prefix.Bits())
	ip, flags := a.Prefix.Addr().AsSlice(), uint32(0)
	data := []nl.NetlinkRequestData{msg, nl.NewRtAttr(unix.IFA_LOCAL, ip), nl.NewRtAttr(unix.IFA_ADDRESS, ip)}
	if a.Prefix.Addr().Is6() {
		if a.NoDAD {
			flags |= unix.IFA_F_NODAD
		}
	} else if hosts := 32 - a.Prefix.Bits(); hosts > 1 {
		broadcast := binary.BigEndian.Uint32(ip) | (1<<hosts - 1)
		data = append(data, nl.NewRtAttr(unix.IFA_BROADCAST, binary.BigEndian.AppendUint32(nil, broadcast)))
	}
	if a.NoPrefixRoute {
		flags |= unix.IFA_F_NOPREFIXROUTE
	}
	data = append(data, nl.NewRtAttr(unix.IFA_FLAGS, nl.Uint32Attr(flags)))
	err := h.send(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, data...)
	if errors.Is(err, unix.EINVAL) && a.Prefix.Addr().Is6() {
		if is, _ := h.ByIndex(l.Index); is.MTU > 0 && is.MTU < SmallestIPv6 {
			err = fmt.Errorf("%w: its mtu is %d, and IPv6 needs %d", err, is.MTU, SmallestIPv6)
		}
	}
	return failure("add address", a.Prefix.String()+" to "+l.Name, err)
}

// SmallestIPv6 is the MTU below which a link has no IPv6 (RFC 8200, section 5): the kernel
// takes its addresses, its routes and its settings.
const SmallestIPv6 = 1280

// DeleteAddr deletes an address; that it is missing matches fs.ErrNotExist.
func (h *Handle) DeleteAddr(l Link, p netip.Prefix) error {
	err := h.nl.AddrDel(nil, &netlink.Addr{IPNet: ipNet(p), LinkIndex: l.Index})
	return failure("delete address", p.String()+" of "+l.Name, err)
}

// Addrs returns the addresses of a link.
func (h *Handle) Addrs(l Link) ([]Addr, error) {
	all, err := retry(func() ([]netlink.Addr, error) { return h.nl.AddrList(device(l), netlink.FAMILY_ALL) })
	if err != nil {
		return nil, failure("addresses of", l.Name, err)
	}
	var addrs []Addr
	for _, a := range all {
		addrs = append(addrs, Addr{
			Prefix:    prefixOf(a.IPNet),
			Tentative: a.Flags&unix.IFA_F_TENTATIVE != 0,
			Duplicate: a.Flags&unix.IFA_F_DADFAILED != 0,
		})
	}
	return addrs, nil
}

const (
	firstPause   = 50 * time.Microsecond
	longestPause = 50 * time.Millisecond

	// shortestTimer is what Go's timers take at least in a process that has nothing else
	// to do: it sleeps in epoll_wait, which counts milliseconds.
	shortestTimer = time.Millisecond
)

// WaitAddrs waits until no address of the link is tentative any more. An address
// that someone else holds is an error that matches fs.ErrExist.
func (h *Handle) WaitAddrs(ctx context.Context, l Link) error {
	return poll(ctx, func() (bool, error) {
		addrs, err := h.Addrs(l)
		if err != nil {
			return false, err
		}
		for _, a := range addrs {
			if a.Duplicate {
				return false, fmt.Errorf("address %s of %s: another host has it: %w", a.Prefix, l.Name, fs.ErrExist)
			}
			if a.Tentative {
				return false, fmt.Errorf("address %s of %s: duplicate detection does not end: %w", a.Prefix, l.Name, errNotYet)
			}
		}
		return true, nil
	})
}

// WaitRunning waits until the link can carry frames, which the kernel finds out a
// moment after both ends of a veth are up.
func (h *Handle) WaitRunning(ctx context.Context, name string) (l Link, err error) {
	err = poll(ctx, func() (bool, error) {
		if l, err = h.ByName(name); err != nil {
			return false, err
		}
		if !l.Running {
			return false, fmt.Errorf("link %s: does not become operational: %w", name, errNotYet)
		}
		return true, nil
	})
	return l, err
}

// WaitLocal waits until the namespace takes packets to addr, which AddAddr has given to a
// link of it, for its own. Of an IPv6 address the kernel sees to that a moment after it has
// answered, also without duplicate detection (net/ipv6/addrconf.c, addrconf_dad_work), and
// until then drops what comes.
func (h *Handle) WaitLocal(ctx context.Context, addr netip.Addr) error {
	return poll(ctx, func() (bool, error) {
		msg := new(nl.RtMsg)
		msg.Family, msg.Dst_len = familyOf(addr), uint8(addr.BitLen())
		answer, err := h.ask(unix.RTM_GETROUTE, 0, msg, nl.NewRtAttr(unix.RTA_DST, addr.AsSlice()))
		if err == nil && nl.DeserializeRtMsg(answer).Type == unix.RTN_LOCAL {
			return true, nil
		}
		return false, fmt.Errorf("address %s: does not become usable: %w", addr, errNotYet)
	})
}

var errNotYet = errors.New("timed out")

// poll asks, with growing pauses, until the answer is yes, an error other than
// errNotYet, or the end of ctx.
func poll(ctx context.Context, ask func() (bool, error)) error {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		done, err := ask()
		if done || (err != nil && !errors.Is(err, errNotYet)) {
			return err
		}
		if pause < shortestTimer && ctx.Err() == nil {
			doze(pause)
			continue
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// doze sleeps for less than shortestTimer.
func doze(pause time.Duration) {
	t := unix.NsecToTimespec(pause.Nanoseconds())
	_ = unix.Nanosleep(&t, nil)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func prefixOf(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(addrOf(n.IP), bits)
}

func addrOf(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}
