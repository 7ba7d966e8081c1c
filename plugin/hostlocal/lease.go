package hostlocal

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/seamnet/seam/cni"
)

// A holder is whom an address is leased to, as a lease's file says: the container's
// ID, a line break, the interface's name. Files of old versions of the reference
// plugin hold the ID only, and are of all the container's interfaces.
type holder struct{ id, ifname string }

const lineBreak = "\r\n"

func holderOf(a cni.Attachment) holder { return holder{a.ContainerID, a.IfName} }

// old returns the holder as old files name it.
func (h holder) old() holder { return holder{id: h.id} }

func (h holder) encode() string { return h.id + lineBreak + h.ifname }

func parseHolder(data []byte) holder {
	id, ifname, _ := strings.Cut(strings.TrimSpace(string(data)), lineBreak)
	return holder{id, ifname}
}

// key names the holder's entry in the index.
func (h holder) key() string {
	return cni.Attachment{ContainerID: h.id, IfName: h.ifname}.Tag().Hash(32)
}

func (h holder) String() string {
	switch {
	case h == holder{}:
		return "nobody"
	case h.ifname == "":
		return fmt.Sprintf("container %s", h.id)
	}
	return fmt.Sprintf("container %s, interface %s", h.id, h.ifname)
}

// leaseAddr returns the address whose lease a file of that name is, if any: other
// files of the folder are the lock, cursors, and what else people put there.
func leaseAddr(name string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(name)
	return a, err == nil && a.String() == name
}

// encodeEntry and parseEntry are for what the index says of one holder.
func encodeEntry(addrs []netip.Addr) string {
	var b strings.Builder
	for i, a := range addrs {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(a.String())
	}
	return b.String()
}

func parseEntry(s string) ([]netip.Addr, error) {
	var addrs []netip.Addr
	for word := range strings.SplitSeq(s, ",") {
		a, err := netip.ParseAddr(word)
		if err != nil {
			return nil, fmt.Errorf("entry %q: %w", s, err)
		}
		addrs = append(addrs, a)
	}
	return addrs, nil
}
