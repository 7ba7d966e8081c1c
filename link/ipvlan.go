package link

import (
	"errors"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// An IPvlanMode is the layer at which the parent passes packets on, in ip(8)'s words.
type IPvlanMode string

// The modes of an ipvlan. All links on one parent have that of the last one made.
const (
	IPvlanL2  IPvlanMode = "l2"  // frames, as a switch does
	IPvlanL3  IPvlanMode = "l3"  // packets, as a router does
	IPvlanL3S IPvlanMode = "l3s" // packets, through the firewall of the parent's namespace
)

var ipvlanModes = map[IPvlanMode]netlink.IPVlanMode{
	IPvlanL2:  netlink.IPVLAN_MODE_L2,
	IPvlanL3:  netlink.IPVLAN_MODE_L3,
	IPvlanL3S: netlink.IPVLAN_MODE_L3S,
}

// Valid reports whether the kernel has such a mode.
func (m IPvlanMode) Valid() bool {
	_, ok := ipvlanModes[m]
	return ok
}

// An IPvlan is a link to be made that shares a parent and its MAC address.
type IPvlan struct {
	Base
	Mode IPvlanMode
}

// AddIPvlan makes it, down.
func (h *Handle) AddIPvlan(v IPvlan) error {
	err := h.add("ipvlan", v.Base, func(data *nl.RtAttr) {
		data.AddRtAttr(nl.IFLA_IPVLAN_MODE, nl.Uint16Attr(uint16(ipvlanModes[v.Mode])))
	})
	if errors.Is(err, unix.EBUSY) {
		return inUse(err)
	}
	return err
}

// IPvlanMode returns the mode that an ipvlan has.
func (h *Handle) IPvlanMode(l Link) (IPvlanMode, error) {
	is, err := h.nl.LinkByIndex(l.Index)
	if err != nil {
		return "", failure("link", l.Name, err)
	}
	v, ok := is.(*netlink.IPVlan)
	if !ok {
		return "", isNo("ipvlan", l)
	}
	for mode, number := range ipvlanModes {
		if number == v.Mode {
			return mode, nil
		}
	}
	return "", nil
}
