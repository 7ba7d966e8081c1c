package link

import (
	"fmt"
	"net"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A Tuning is what a link's owner may change about it while it is in use. What is zero
// or nil stays.
type Tuning struct {
	MAC      net.HardwareAddr
	MTU      int   // bytes
	Promisc  *bool // it receives every frame
	Allmulti *bool // it receives every multicast frame
	TxQLen   *int  // packets
}

// IsZero reports whether it changes nothing.
func (t Tuning) IsZero() bool {
	return t.MAC == nil && t.MTU == 0 && t.Promisc == nil && t.Allmulti == nil && t.TxQLen == nil
}

func (t Tuning) String() string {
	var words []string
	if t.MAC != nil {
		words = append(words, "address "+t.MAC.String())
	}
	if t.MTU != 0 {
		words = append(words, fmt.Sprintf("mtu %d", t.MTU))
	}
	if t.Promisc != nil {
		words = append(words, "promisc "+onOff(*t.Promisc))
	}
	if t.Allmulti != nil {
		words = append(words, "allmulticast "+onOff(*t.Allmulti))
	}
	if t.TxQLen != nil {
		words = append(words, fmt.Sprintf("txqueuelen %d", *t.TxQLen))
	}
	return strings.Join(words, " ")
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// Tune changes a link in one message. The kernel stops at the first change that it
// refuses, and the ones before are made.
func (h *Handle) Tune(l Link, t Tuning) error {
	if t.IsZero() {
		return nil
	}
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(l.Index)
	setFlag(msg, unix.IFF_PROMISC, t.Promisc)
	setFlag(msg, unix.IFF_ALLMULTI, t.Allmulti)
	data := []nl.NetlinkRequestData{msg}
	if t.MAC != nil {
		data = append(data, nl.NewRtAttr(unix.IFLA_ADDRESS, t.MAC))
	}
	if t.MTU != 0 {
		data = append(data, nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(t.MTU))))
	}
	if t.TxQLen != nil {
		data = append(data, nl.NewRtAttr(unix.IFLA_TXQLEN, nl.Uint32Attr(uint32(*t.TxQLen))))
	}
	return failure("set link", l.Name+" "+t.String(), h.send(unix.RTM_SETLINK, 0, data...))
}

func setFlag(msg *nl.IfInfomsg, flag uint32, on *bool) {
	if on == nil {
		return
	}
	msg.Change |= flag
	if *on {
		msg.Flags |= flag
	}
}
