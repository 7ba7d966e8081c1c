package link

import (
	"net"

	"github.com/seamnet/seam/netns"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A Veth is a pair of links to be made, one in the handle's namespace and its peer
// in another.
type Veth struct {
	Name string
	MTU  int // bytes, of both ends; 0: the kernel's default
	MAC  net.HardwareAddr

	PeerName string
	PeerMAC  net.HardwareAddr // nil: random
	PeerNS   *netns.Namespace // nil: the handle's own
}

// AddVeth makes the pair, both ends down. That either name is taken matches
// fs.ErrExist, and then nothing is made.
func (h *Handle) AddVeth(v Veth) error {
	data := []nl.NetlinkRequestData{nl.NewIfInfomsg(unix.AF_UNSPEC), nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(v.Name))}
	if v.MTU != 0 {
		data = append(data, nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(v.MTU))))
	}
	if v.MAC != nil {
		data = append(data, nl.NewRtAttr(unix.IFLA_ADDRESS, v.MAC))
	}
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	peer := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
	nl.NewIfInfomsgChild(peer, unix.AF_UNSPEC)
	peer.AddRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(v.PeerName))
	if v.MTU != 0 {
		peer.AddRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(v.MTU)))
	}
	if v.PeerMAC != nil {
		peer.AddRtAttr(unix.IFLA_ADDRESS, v.PeerMAC)
	}
	if v.PeerNS != nil {
		peer.AddRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(v.PeerNS.Fd())))
	}
	err := h.send(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, append(data, info)...)
	return failure("add veth", sized(v.Name+" and "+v.PeerName, v.MTU), err)
}
