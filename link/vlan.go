package link

import (
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
)

// A VLANLink is a link to be made whose frames travel over its parent with the tag of a
// VLAN (IEEE 802.1Q). A parent has each VLAN once, in whatever namespace the link is: a
// second one matches fs.ErrExist.
type VLANLink struct {
	Base
	ID uint16 // 0 to 4094
}

// AddVLANLink makes it, down. It can be set up only while its parent is.
func (h *Handle) AddVLANLink(v VLANLink) error {
	return h.add("vlan", v.Base, func(data *nl.RtAttr) {
		data.AddRtAttr(nl.IFLA_VLAN_ID, nl.Uint16Attr(v.ID))
	})
}

// VLANID returns the VLAN of a link of that kind.
func (h *Handle) VLANID(l Link) (uint16, error) {
	is, err := h.nl.LinkByIndex(l.Index)
	if err != nil {
		return 0, failure("link", l.Name, err)
	}
	v, ok := is.(*netlink.Vlan)
	if !ok {
		return 0, isNo("vlan", l)
	}
	return uint16(v.VlanId), nil
}
