package link

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A MacvlanMode is how links on one parent reach each other, in ip(8)'s words.
type MacvlanMode string

// The modes of a macvlan.
const (
	MacvlanBridge   MacvlanMode = "bridge"   // directly
	MacvlanPrivate  MacvlanMode = "private"  // not at all
	MacvlanVEPA     MacvlanMode = "vepa"     // by a switch outside that sends frames back
	MacvlanPassthru MacvlanMode = "passthru" // there is only one on the parent, and it has its MAC address
)

var macvlanModes = map[MacvlanMode]uint32{
	MacvlanPrivate:  nl.MACVLAN_MODE_PRIVATE,
	MacvlanVEPA:     nl.MACVLAN_MODE_VEPA,
	MacvlanBridge:   nl.MACVLAN_MODE_BRIDGE,
	MacvlanPassthru: nl.MACVLAN_MODE_PASSTHRU,
}

// Valid reports whether the kernel has such a mode.
func (m MacvlanMode) Valid() bool { return macvlanModes[m] != 0 }

// A Macvlan is a link that shares a parent, with a MAC address of its own.
type Macvlan struct {
	Base
	Mode MacvlanMode

	// BroadcastQueue is how many received broadcasts may wait for being copied; 0: the
	// kernel's default of 1000. The parent has one queue, as long as its most demanding
	// link asks for; kernels before 5.11 know no other than theirs.
	BroadcastQueue uint32
}

// AddMacvlan makes it, down.
func (h *Handle) AddMacvlan(m Macvlan) error {
	err := h.add("macvlan", m.Base, func(data *nl.RtAttr) {
		data.AddRtAttr(nl.IFLA_MACVLAN_MODE, nl.Uint32Attr(macvlanModes[m.Mode]))
		if m.BroadcastQueue != 0 {
			data.AddRtAttr(nl.IFLA_MACVLAN_BC_QUEUE_LEN, nl.Uint32Attr(m.BroadcastQueue))
		}
	})
	_, explained := errors.AsType[refusal](err)
	switch {
	case errors.Is(err, unix.EINVAL) && !explained:
		return fmt.Errorf("%w: mode passthru allows one macvlan on a parent, and the parent must be an Ethernet link", err)
	case errors.Is(err, unix.EBUSY):
		return inUse(err)
	}
	return err
}

// inUse explains the EBUSY that macvlan and ipvlan get from their parent.
func inUse(err error) error {
	return fmt.Errorf("%w: the parent is a port of a bridge or bond, or carries links of another kind", err)
}

// Macvlan returns what a macvlan was made with, but for Base.
func (h *Handle) Macvlan(l Link) (Macvlan, error) {
	is, err := h.nl.LinkByIndex(l.Index)
	if err != nil {
		return Macvlan{}, failure("link", l.Name, err)
	}
	m, ok := is.(*netlink.Macvlan)
	if !ok {
		return Macvlan{}, isNo("macvlan", l)
	}
	mode := map[netlink.MacvlanMode]MacvlanMode{
		netlink.MACVLAN_MODE_PRIVATE: MacvlanPrivate, netlink.MACVLAN_MODE_VEPA: MacvlanVEPA,
		netlink.MACVLAN_MODE_BRIDGE: MacvlanBridge, netlink.MACVLAN_MODE_PASSTHRU: MacvlanPassthru,
	}[m.Mode]
	return Macvlan{Mode: mode, BroadcastQueue: m.BCQueueLen}, nil
}

func isNo(kind string, l Link) error {
	return fmt.Errorf("link %s: a %s, not a %s", l.Name, l.Kind, kind)
}
