package link

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A Neighbour is what a namespace knows of an address on a link.
type Neighbour struct {
	MAC   net.HardwareAddr // nil: it was asked for and did not answer
	State string           // reachable, stale, permanent, failed, …: ip-neighbour(8)'s words
}

// Neighbour returns what is known of the address; that nothing is matches fs.ErrNotExist.
func (h *Handle) Neighbour(l Link, addr netip.Addr) (Neighbour, error) {
	ndm := neighbourMessage{family: familyOf(addr), index: l.Index}
	answer, err := h.ask(unix.RTM_GETNEIGH, 0, ndm, nl.NewRtAttr(unix.NDA_DST, addr.AsSlice()))
	if err == nil {
		var n Neighbour
		if n, _, err = parseNeighbour(answer); err == nil {
			return n, nil
		}
	}
	return Neighbour{}, failure("neighbour", fmt.Sprintf("%s on %s", addr, l.Name), err)
}

// PortTo returns the index of the port by which a bridge sends frames to a MAC address, its
// own if they are for the host itself. That it has not learnt it, and sends them by all
// ports, matches fs.ErrNotExist.
func (h *Handle) PortTo(bridge Link, mac net.HardwareAddr) (int, error) {
	ndm := neighbourMessage{family: unix.AF_BRIDGE}
	answer, err := h.ask(unix.RTM_GETNEIGH, 0, ndm, nl.NewRtAttr(unix.NDA_LLADDR, mac),
		nl.NewRtAttr(unix.NDA_MASTER, nl.Uint32Attr(uint32(bridge.Index))))
	if err == nil {
		var port int
		if _, port, err = parseNeighbour(answer); err == nil {
			return port, nil
		}
	}
	return 0, failure("port", fmt.Sprintf("of %s to %s", bridge.Name, mac), err)
}

// neighbourMessage is struct ndmsg.
type neighbourMessage struct {
	family uint8
	index  int
}

const neighbourLen = 12

func (neighbourMessage) Len() int { return neighbourLen }

func (n neighbourMessage) Serialize() []byte {
	b := make([]byte, neighbourLen)
	b[0] = n.family
	binary.NativeEndian.PutUint32(b[4:], uint32(n.index))
	return b
}

func parseNeighbour(answer []byte) (n Neighbour, index int, err error) {
	if len(answer) < neighbourLen {
		return n, 0, unix.EBADMSG
	}
	index = int(binary.NativeEndian.Uint32(answer[4:]))
	n.State = neighbourState(binary.NativeEndian.Uint16(answer[8:]))
	attrs, err := nl.ParseRouteAttr(answer[neighbourLen:])
	if mac := find(attrs, unix.NDA_LLADDR); len(mac) > 0 {
		n.MAC = mac
	}
	return n, index, err
}

func neighbourState(state uint16) string {
	for _, s := range []struct {
		bit  uint16
		word string
	}{
		{unix.NUD_PERMANENT, "permanent"}, {unix.NUD_NOARP, "noarp"}, {unix.NUD_REACHABLE, "reachable"}, {unix.NUD_STALE, "stale"},
		{unix.NUD_DELAY, "delay"}, {unix.NUD_PROBE, "probe"}, {unix.NUD_INCOMPLETE, "incomplete"}, {unix.NUD_FAILED, "failed"},
	} {
		if state&s.bit != 0 {
			return s.word
		}
	}
	return "none"
}
