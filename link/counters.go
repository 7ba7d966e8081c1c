package link

import (
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Counters are what has passed a link since it was made, seen from the link: the kernel's
// IFLA_STATS64. What a queueing discipline dropped is not among them.
type Counters struct {
	RxBytes, RxPackets, RxDropped uint64 // received
	TxBytes, TxPackets, TxDropped uint64 // sent
}

// Reversed returns the counters as the other end of a veth has them.
func (c Counters) Reversed() Counters {
	return Counters{
		RxBytes: c.TxBytes, RxPackets: c.TxPackets, RxDropped: c.TxDropped,
		TxBytes: c.RxBytes, TxPackets: c.RxPackets, TxDropped: c.RxDropped,
	}
}

// Counters returns the counters of the link of that index.
func (h *Handle) Counters(l Link) (Counters, error) {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(l.Index)
	answer, err := h.ask(unix.RTM_GETLINK, 0, msg)
	if err != nil {
		return Counters{}, failure("counters of", l.Name, err)
	}
	counted, err := netlink.LinkDeserialize(nil, answer)
	if err != nil {
		return Counters{}, fmt.Errorf("counters of %s: %w", l.Name, err)
	}
	return countersOf(counted), nil
}

// A Counted is a link with its counters.
type Counted struct {
	Link
	Counters
}

// ListCounted returns all links with their counters, in one question to the kernel: not for
// the path of an attachment.
func (h *Handle) ListCounted() ([]Counted, error) {
	all, err := retry(h.nl.LinkList)
	if err != nil {
		return nil, failure("list", "links", err)
	}
	counted := make([]Counted, len(all))
	for i, l := range all {
		counted[i] = Counted{fromNetlink(l), countersOf(l)}
	}
	return counted, nil
}

func countersOf(l netlink.Link) Counters {
	s := l.Attrs().Statistics
	if s == nil {
		return Counters{}
	}
	return Counters{
		RxBytes: s.RxBytes, RxPackets: s.RxPackets, RxDropped: s.RxDropped,
		TxBytes: s.TxBytes, TxPackets: s.TxPackets, TxDropped: s.TxDropped,
	}
}
