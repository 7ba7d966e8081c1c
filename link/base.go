package link

import (
	"net"

	"github.com/seamnet/seam/netns"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Base is what links of every kind are made with.
type Base struct {
	Name   string
	MTU    int              // bytes; 0: the kernel's default, or its parent's
	MAC    net.HardwareAddr // nil: random, or its parent's
	Parent int              // index, in the handle's namespace, of the link that it stands on; 0: none
	NS     *netns.Namespace // where it is made, at once under its name; nil: the handle's own
}

// add makes a link, down, in one message. fill adds what only this kind knows, and may
// be nil. That the name is taken matches fs.ErrExist, and then nothing is made.
func (h *Handle) add(kind string, b Base, fill func(data *nl.RtAttr)) error {
	data := []nl.NetlinkRequestData{nl.NewIfInfomsg(unix.AF_UNSPEC), nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(b.Name))}
	if b.MTU != 0 {
		data = append(data, nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(b.MTU))))
	}
	if b.MAC != nil {
		data = append(data, nl.NewRtAttr(unix.IFLA_ADDRESS, b.MAC))
	}
	if b.Parent != 0 {
		data = append(data, nl.NewRtAttr(unix.IFLA_LINK, nl.Uint32Attr(uint32(b.Parent))))
	}
	if b.NS != nil {
		data = append(data, nl.NewRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(b.NS.Fd()))))
	}
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated(kind))
	if fill != nil {
		fill(info.AddRtAttr(nl.IFLA_INFO_DATA, nil))
	}
	err := h.send(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, append(data, info)...)
	return failure("add "+kind, b.Name, err)
}
