package plugins

import (
	"encoding/binary"
	"fmt"
	"net"
	"syscall"

	"github.com/seamnet/seam/link"
	"golang.org/x/sys/unix"
)

// putForwarding adds the permanent forwarding entries of bridges and tunnels, but those
// that a link has for itself: its own address, and groups.
func (f footprint) putForwarding(s *link.Snapshot) error {
	raw, err := syscall.NetlinkRIB(unix.RTM_GETNEIGH, unix.AF_BRIDGE)
	if err != nil {
		return fmt.Errorf("list forwarding entries: %w", err)
	}
	messages, err := syscall.ParseNetlinkMessage(raw)
	if err != nil {
		return fmt.Errorf("list forwarding entries: %w", err)
	}
	links := make(map[int32]link.SavedLink)
	for _, l := range s.Links {
		links[int32(l.Index)] = l
	}
	for _, m := range messages {
		if m.Header.Type != unix.RTM_NEWNEIGH || len(m.Data) < unix.SizeofNdMsg {
			continue
		}
		e := parseEntry(m.Data)
		l := links[e.link]
		if e.permanent && len(e.mac) > 0 && e.mac[0]&1 == 0 && e.mac.String() != l.MAC.String() {
			f.put(fmt.Sprintf("forwarding entry %v dev %s", e.mac, l.Name), "")
		}
	}
	return nil
}

// An entry is one that says behind which link a MAC address is.
type entry struct {
	link      int32
	permanent bool
	mac       net.HardwareAddr
}

// parseEntry reads a struct ndmsg with its attributes.
func parseEntry(data []byte) entry {
	order := binary.NativeEndian
	e := entry{link: int32(order.Uint32(data[4:])), permanent: order.Uint16(data[8:])&unix.NUD_PERMANENT != 0}
	for rest := data[unix.SizeofNdMsg:]; len(rest) >= unix.SizeofRtAttr; {
		size := int(order.Uint16(rest))
		if size < unix.SizeofRtAttr || size > len(rest) {
			break
		}
		if order.Uint16(rest[2:]) == unix.NDA_LLADDR {
			e.mac = net.HardwareAddr(rest[unix.SizeofRtAttr:size])
		}
		rest = rest[min((size+3)&^3, len(rest)):]
	}
	return e
}
