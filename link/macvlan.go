package link

import (
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
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

// A Macvlan is a link to be made that shares a parent, with a MAC address of its own.
type Macvlan struct {
	Base
	Mode          MacvlanMode
	BroadcastRoom uint32 // how many received broadcasts may wait for being copied; 0: the kernel's default of 1000
}

// AddMacvlan makes it, down.
func (h *Handle) AddMacvlan(m Macvlan) error {
	return h.add("macvlan", m.Base, func(data *nl.RtAttr) {
		data.AddRtAttr(nl.IFLA_MACVLAN_MODE, nl.Uint32Attr(macvlanModes[m.Mode]))
		if m.BroadcastRoom != 0 {
			data.AddRtAttr(nl.IFLA_MACVLAN_BC_QUEUE_LEN, nl.Uint32Attr(m.BroadcastRoom))
		}
	})
}

// MacvlanMode returns the mode that a macvlan has.
func (h *Handle) MacvlanMode(l Link) (MacvlanMode, error) {
	is, err := h.nl.LinkByIndex(l.Index)
	if err != nil {
		return "", failure("link", l.Name, err)
	}
	m, ok := is.(*netlink.Macvlan)
	if !ok {
		return "", nil
	}
	return map[netlink.MacvlanMode]MacvlanMode{
		netlink.MACVLAN_MODE_PRIVATE: MacvlanPrivate, netlink.MACVLAN_MODE_VEPA: MacvlanVEPA,
		netlink.MACVLAN_MODE_BRIDGE: MacvlanBridge, netlink.MACVLAN_MODE_PASSTHRU: MacvlanPassthru,
	}[m.Mode], nil
}
