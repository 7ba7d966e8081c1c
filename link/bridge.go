package link

import (
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A Bridge is a bridge to be made.
type Bridge struct {
	Name          string
	MTU           int              // bytes; 0: the kernel's default
	MAC           net.HardwareAddr // nil: the lowest of its ports', whichever they are at the time
	VLANFiltering bool             // frames are kept apart by VLAN; needs a kernel built with it
}

// AddBridge makes a bridge, down.
func (h *Handle) AddBridge(b Bridge) error {
	var fill func(*nl.RtAttr)
	if b.VLANFiltering {
		fill = filterVLANs
	}
	return h.add("bridge", Base{Name: b.Name, MTU: b.MTU, MAC: b.MAC}, fill)
}

func filterVLANs(data *nl.RtAttr) { data.AddRtAttr(nl.IFLA_BR_VLAN_FILTERING, nl.Uint8Attr(1)) }

// VLANFiltering reports whether the bridge keeps frames apart by VLAN.
func (h *Handle) VLANFiltering(name string) (bool, error) {
	l, err := h.nl.LinkByName(name)
	if err != nil {
		return false, failure("link", name, err)
	}
	b, ok := l.(*netlink.Bridge)
	if !ok {
		return false, fmt.Errorf("link %s: a %s, not a bridge", name, l.Type())
	}
	return b.VlanFiltering != nil && *b.VlanFiltering, nil
}

// SetVLANFiltering makes an existing bridge keep frames apart by VLAN.
func (h *Handle) SetVLANFiltering(l Link) error {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(l.Index)
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("bridge"))
	filterVLANs(info.AddRtAttr(nl.IFLA_INFO_DATA, nil))
	return failure("set vlan filtering of bridge", l.Name, h.send(unix.RTM_NEWLINK, 0, msg, info))
}

// SetHairpin lets frames leave the bridge port l where they came in.
func (h *Handle) SetHairpin(l Link) error {
	return failure("set hairpin of bridge port", l.Name, h.setPort(l, nl.IFLA_BRPORT_MODE))
}

// SetIsolated keeps the bridge port l from exchanging frames with other isolated ports.
func (h *Handle) SetIsolated(l Link) error {
	return failure("set isolated of bridge port", l.Name, h.setPort(l, nl.IFLA_BRPORT_ISOLATED))
}

// setPort sets a flag of a bridge port.
func (h *Handle) setPort(l Link, flag int) error {
	msg := nl.NewIfInfomsg(unix.AF_BRIDGE)
	msg.Index = int32(l.Index)
	port := nl.NewRtAttr(unix.IFLA_PROTINFO|unix.NLA_F_NESTED, nil)
	port.AddRtAttr(flag, nl.Uint8Attr(1))
	return h.send(unix.RTM_SETLINK, 0, msg, port)
}

// Port returns the hairpin and isolated flags of a bridge port.
func (h *Handle) Port(l Link) (hairpin, isolated bool, err error) {
	p, err := h.nl.LinkGetProtinfo(device(l))
	if err != nil {
		return false, false, failure("bridge port", l.Name, err)
	}
	return p.Hairpin, p.Isolated, nil
}

// VLANs are consecutive VLAN IDs (1 to 4094), First to Last, of a bridge port.
type VLANs struct {
	First, Last uint16
	Native      bool // frames without a tag are of this VLAN, and leave without one
}

// AddVLANs lets the VLANs pass the port, or the bridge itself.
func (h *Handle) AddVLANs(l Link, v VLANs, onBridge bool) error {
	last := v.Last
	if last == v.First {
		last = 0 // the kernel refuses a range of one
	}
	err := h.nl.BridgeVlanAddRange(device(l), v.First, last, v.Native, v.Native, onBridge, !onBridge)
	return failure("add vlans of", fmt.Sprintf("%s, %d to %d", l.Name, v.First, v.Last), err)
}

// DeleteVLAN stops the VLAN from passing the port.
func (h *Handle) DeleteVLAN(l Link, id uint16) error {
	return failure("delete vlan of", fmt.Sprintf("%s, %d", l.Name, id), h.nl.BridgeVlanDel(device(l), id, true, true, false, true))
}

// PortVLANs returns the VLANs that pass the port.
func (h *Handle) PortVLANs(l Link) ([]VLANs, error) {
	all, err := h.nl.BridgeVlanList()
	if err != nil {
		return nil, failure("vlans of", l.Name, err)
	}
	var vlans []VLANs
	for _, v := range all[int32(l.Index)] {
		vlans = append(vlans, VLANs{First: v.Vid, Last: v.Vid, Native: v.PortVID()})
	}
	return vlans, nil
}
