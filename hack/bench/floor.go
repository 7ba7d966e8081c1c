package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/plugin"
	"golang.org/x/sys/unix"
)

// A floor makes the kernel changes that Seam makes for an attachment, and nothing
// else: no files, no look-ups but that of an index, no result. What attachments share (bridge,
// static rules) is there already, made for the pod "model", whose firewall elements
// it copies.
type floor struct {
	model    identity
	elements []element
	bridge   int32
	hairpin  bool       // ports are in hairpin mode, which portmap wants
	doors    chan doors // opened before the clock starts, one pair for each that runs at a time
	parts    *parts
}

// doors are the host's netlink sockets.
type doors struct{ route, firewall *socket }

func newFloor(h Host, model *pod, p *parts) (*floor, error) {
	f := &floor{model: model.identity(), hairpin: h.Chain == forwarded, doors: make(chan doors, h.Width), parts: p}
	for range h.Width {
		route, err := dial(unix.NETLINK_ROUTE)
		if err != nil {
			return nil, err
		}
		firewall, err := dial(unix.NETLINK_NETFILTER)
		if err != nil {
			return nil, err
		}
		f.doors <- doors{route, firewall}
	}
	d := <-f.doors
	defer func() { f.doors <- d }()
	var err error
	if f.bridge, err = indexOf(d.route, bridgeName); err != nil {
		return nil, err
	}
	f.elements, err = elementsOf(d.firewall, f.model.tag)
	if err == nil && len(f.elements) == 0 {
		err = fmt.Errorf("floor: no firewall element bears the tag %s", f.model.tag)
	}
	return f, err
}

func (f *floor) add(_ context.Context, p *pod) error {
	d := <-f.doors
	defer func() { f.doors <- d }()
	watch := f.parts.watch("ADD")
	if err := addVeth(d.route, plugin.HostName(p.tag()), p.ns); err != nil {
		return fmt.Errorf("floor: add veth: %w", err)
	}
	watch.lap("make the veth, its peer in the pod")
	if err := f.connect(d.route, p); err != nil {
		return fmt.Errorf("floor: set host end: %w", err)
	}
	watch.lap("make its host end a port of the bridge, up")
	if f.hairpin {
		if err := setHairpin(d.route, plugin.HostName(p.tag())); err != nil {
			return fmt.Errorf("floor: set hairpin: %w", err)
		}
		watch.lap("let the port send back where it came from")
	}
	inside, err := enter(p.ns)
	if err != nil {
		return fmt.Errorf("floor: enter pod: %w", err)
	}
	defer inside.close()
	watch.lap("enter the pod: two settings, a socket")
	if err := configure(inside, p, watch); err != nil {
		return fmt.Errorf("floor: %w", err)
	}
	if err := transaction(d.firewall, unix.NFT_MSG_NEWSETELEM, f.elementsFor(p)); err != nil {
		return fmt.Errorf("floor: put elements: %w", err)
	}
	watch.lap("nftables transaction")
	return nil
}

func (f *floor) del(_ context.Context, p *pod) error {
	d := <-f.doors
	defer func() { f.doors <- d }()
	watch := f.parts.watch("DEL")
	if err := transaction(d.firewall, unix.NFT_MSG_DELSETELEM, f.elementsFor(p)); err != nil {
		return fmt.Errorf("floor: drop elements: %w", err)
	}
	watch.lap("nftables transaction")
	m := linkMessage(unix.RTM_DELLINK, 0, 0, false)
	m.text(unix.IFLA_IFNAME, plugin.HostName(p.tag()))
	if err := d.route.do(m); err != nil {
		return fmt.Errorf("floor: delete link: %w", err)
	}
	watch.lap("delete the veth")
	return nil
}

func (f *floor) elementsFor(p *pod) []element {
	own := make([]element, len(f.elements))
	for i, e := range f.elements {
		own[i] = e.translated(f.model, p.identity())
	}
	return own
}

func addVeth(s *socket, name string, ns *netns.Namespace) error {
	const vethInfoPeer = 1 // VETH_INFO_PEER
	m := linkMessage(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, 0, false)
	m.text(unix.IFLA_IFNAME, name)
	m.nest(unix.IFLA_LINKINFO, func() {
		m.attr(unix.IFLA_INFO_KIND, []byte("veth"))
		m.nest(unix.IFLA_INFO_DATA, func() {
			m.nest(vethInfoPeer, func() {
				m.b = append(m.b, ifinfo(0, false)...)
				m.text(unix.IFLA_IFNAME, podIfName)
				m.number(unix.IFLA_NET_NS_FD, uint32(ns.Fd()))
			})
		})
	})
	return s.do(m)
}

func (f *floor) connect(s *socket, p *pod) error {
	m := linkMessage(unix.RTM_SETLINK, 0, 0, true)
	m.text(unix.IFLA_IFNAME, plugin.HostName(p.tag()))
	m.attr(unix.IFLA_IFALIAS, []byte(plugin.Alias(p.tag())))
	m.number(unix.IFLA_MASTER, uint32(f.bridge))
	return s.do(m)
}

// setHairpin sets the mode of a bridge's port. The kernel takes it only by a message of
// its own, and by index.
func setHairpin(s *socket, name string) error {
	index, err := indexOf(s, name)
	if err != nil {
		return err
	}
	const brportMode = 4 // IFLA_BRPORT_MODE
	fixed := ifinfo(index, false)
	fixed[0] = unix.AF_BRIDGE
	m := newMessage(unix.RTM_SETLINK, 0, fixed)
	m.nest(unix.NLA_F_NESTED|unix.IFLA_PROTINFO, func() { m.attr(brportMode, []byte{1}) })
	return s.do(m)
}

// enter makes the settings that Seam makes in a pod and opens a socket there.
func enter(ns *netns.Namespace) (s *socket, err error) {
	err = ns.Do(func() error {
		if err := link.Sysctl("ipv4/conf/" + podIfName + "/arp_notify").Write("1"); err != nil {
			return err
		}
		if err := link.Sysctl("ipv6/conf/" + podIfName + "/accept_dad").Write("0"); err != nil && !link.Missing(err) {
			return err
		}
		s, err = dial(unix.NETLINK_ROUTE)
		return err
	})
	return s, err
}

// configure gives the pod its address and default route.
func configure(s *socket, p *pod, watch *stopwatch) error {
	index, err := indexOf(s, podIfName)
	if err != nil {
		return err
	}
	if err := addAddress(s, index, netip.PrefixFrom(p.addr(), subnetBits)); err != nil {
		return fmt.Errorf("add address: %w", err)
	}
	watch.lap("find the pod's interface, add the address")
	if err := s.do(linkMessage(unix.RTM_SETLINK, 0, index, true)); err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	watch.lap("set it up")
	if err := addDefaultRoute(s, index, gateway); err != nil {
		return fmt.Errorf("add route: %w", err)
	}
	watch.lap("add the route")
	return nil
}

func indexOf(s *socket, name string) (int32, error) {
	m := linkMessage(unix.RTM_GETLINK, 0, 0, false)
	m.text(unix.IFLA_IFNAME, name)
	body, err := s.ask(m)
	if err != nil {
		return 0, fmt.Errorf("link %s: %w", name, err)
	}
	return int32(binary.NativeEndian.Uint32(body[4:])), nil
}

func addAddress(s *socket, index int32, p netip.Prefix) error {
	fixed := make([]byte, unix.SizeofIfAddrmsg)
	fixed[0], fixed[1] = unix.AF_INET, byte(p.Bits())
	binary.NativeEndian.PutUint32(fixed[4:], uint32(index))
	m := newMessage(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, fixed)
	m.attr(unix.IFA_LOCAL, p.Addr().AsSlice())
	m.attr(unix.IFA_ADDRESS, p.Addr().AsSlice())
	hosts := uint32(1)<<(32-p.Bits()) - 1
	broadcast := binary.BigEndian.Uint32(p.Addr().AsSlice()) | hosts
	m.attr(unix.IFA_BROADCAST, binary.BigEndian.AppendUint32(nil, broadcast))
	return s.do(m)
}

func addDefaultRoute(s *socket, index int32, via netip.Addr) error {
	fixed := make([]byte, unix.SizeofRtMsg)
	fixed[0], fixed[4], fixed[5], fixed[7] = unix.AF_INET, unix.RT_TABLE_MAIN, unix.RTPROT_BOOT, unix.RTN_UNICAST
	m := newMessage(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, fixed)
	m.attr(unix.RTA_GATEWAY, via.AsSlice())
	m.number(unix.RTA_OIF, uint32(index))
	return s.do(m)
}
