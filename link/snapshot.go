package link

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/seamnet/seam/netns"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A Snapshot is all that was made in a network namespace: what is to be made again in
// another one, to which its links were moved, by Restore. Its JSON form can be stored; it
// holds for the kernel that it was taken from, until that ends.
//
// What it names in the kernel's own messages is kept as the kernel described it, so that
// nothing is lost that nobody thought of. It does not have firewall rules, IPsec, sockets,
// the VLANs and forwarding entries of a bridge, or what comes and goes by itself: routes of
// routers, neighbours that were found.
type Snapshot struct {
	Links    []SavedLink // but lo
	Loopback SavedLink   // what was made of lo

	NextHops   []SavedMessage `json:",omitempty"`
	Routes     []SavedMessage `json:",omitempty"` // of all tables but local
	Rules      []SavedMessage `json:",omitempty"` // but those of every namespace
	Neighbours []SavedMessage `json:",omitempty"` // permanent ones, and proxies
	Settings   Settings       `json:",omitempty"` // without those of the links
}

// A SavedLink is a link with what is lost when it is moved to another namespace.
type SavedLink struct {
	Link
	AltNames []string `json:",omitempty"`

	// Settings are those below /proc/sys/net, by a path that has * for the link's name.
	Settings Settings `json:",omitempty"`

	Addrs    []SavedAddr     `json:",omitempty"`
	Queueing []SavedQueueing `json:",omitempty"` // qdiscs, classes and filters, in an order in which they can be made

	// Message is the kernel's description of a link that cannot be moved, and is to be made
	// again by it, or that is a port of another one.
	Message SavedMessage `json:",omitempty"`
}

// A SavedMessage is something as the kernel described it.
type SavedMessage []byte

// TakeSnapshot returns what was made in the handle's namespace, which must not have many
// links or routes. What is no different in fresh, a namespace in which nothing was done,
// is not in it.
func (h *Handle) TakeSnapshot(fresh *netns.Namespace) (*Snapshot, error) {
	settings, err := ReadSettings(fresh)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	return h.TakeSnapshotBeside(settings)
}

// TakeSnapshotBeside is TakeSnapshot with what was read of a fresh namespace, which takes
// as long as all the rest: once is enough for many snapshots. A setting that came since, with
// a module of the kernel, is in each of them.
func (h *Handle) TakeSnapshotBeside(fresh Settings) (*Snapshot, error) {
	s := new(Snapshot)
	var errs []error
	for _, part := range []func(*Snapshot) error{h.saveLinks, h.saveAddrs, h.saveQueueing, h.saveNextHops, h.saveRoutes, h.saveRules, h.saveNeighbours} {
		errs = append(errs, part(s))
	}
	errs = append(errs, h.saveSettings(s, fresh))
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	return s, nil
}

// all returns the links, and lo first.
func (s *Snapshot) all() []*SavedLink {
	links := []*SavedLink{&s.Loopback}
	for i := range s.Links {
		links = append(links, &s.Links[i])
	}
	return links
}

// byIndex returns the link that had that index, nil if there is none.
func (s *Snapshot) byIndex(index int) *SavedLink {
	for _, l := range s.all() {
		if l.Index == index {
			return l
		}
	}
	return nil
}

const loopback = "lo"

func (h *Handle) saveLinks(s *Snapshot) error {
	links, err := h.describeLinks()
	if err != nil {
		return err
	}
	for _, l := range links {
		if l.Master == 0 && !immovable(l) || l.Name == loopback {
			l.Message = nil
		}
		if l.Name == loopback {
			s.Loopback = l
		} else {
			s.Links = append(s.Links, l)
		}
	}
	return nil
}

// describeLinks returns all links with their names and flags.
func (h *Handle) describeLinks() ([]SavedLink, error) {
	const skipCounters = 1 << 3 // RTEXT_FILTER_SKIP_STATS
	messages, err := h.dump(unix.RTM_GETLINK, nl.NewIfInfomsg(unix.AF_UNSPEC), nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(skipCounters)))
	if err != nil {
		return nil, failure("list", "links", err)
	}
	var links []SavedLink
	for _, raw := range messages {
		is, err := netlink.LinkDeserialize(nil, raw)
		if err != nil {
			return nil, failure("list", "links", err)
		}
		l := SavedLink{Link: fromNetlink(is), AltNames: is.Attrs().AltNames, Message: raw}
		l.Promisc = is.Attrs().RawFlags&unix.IFF_PROMISC != 0 // as was asked for, not as a bridge's port
		links = append(links, l)
	}
	return links, nil
}

func (h *Handle) saveAddrs(s *Snapshot) error {
	messages, err := h.dump(unix.RTM_GETADDR, nl.NewIfAddrmsg(unix.AF_UNSPEC))
	if err != nil {
		return failure("list", "addresses", err)
	}
	for _, raw := range messages {
		m, err := parseMessage(raw, unix.SizeofIfAddrmsg)
		if err != nil {
			return failure("list", "addresses", err)
		}
		if l := s.byIndex(int(m.number(4))); l != nil && l.wasGiven(m) {
			l.Addrs = append(l.Addrs, SavedAddr(raw))
		}
	}
	return nil
}

// Where an address is from, since Linux 5.18.
const (
	ifaProto           = 11 // IFA_PROTO
	ifaProtoByKernelLo = 1
	ifaProtoByRouter   = 2
	ifaProtoLinkLocal  = 3
)

// wasGiven reports whether someone gave the link the address: the kernel itself gives lo
// and links theirs, and routers those that they announce.
func (l *SavedLink) wasGiven(m message) bool {
	if v := m.get(ifaProto); len(v) == 1 && v[0] >= ifaProtoByKernelLo && v[0] <= ifaProtoLinkLocal {
		return false
	}
	if m.header[0] == unix.AF_INET {
		return true
	}
	flags, ok := m.uint32(unix.IFA_FLAGS)
	if !ok {
		flags = uint32(m.header[2])
	}
	return flags&(unix.IFA_F_TEMPORARY|unix.IFA_F_MANAGETEMPADDR) == 0 && !bytes.Equal(m.get(unix.IFA_ADDRESS), linkLocal(l.MAC))
}

// linkLocal returns the address that the kernel makes of a MAC (RFC 4291, appendix A).
func linkLocal(mac net.HardwareAddr) []byte {
	if len(mac) != 6 {
		return nil
	}
	return []byte{0xfe, 0x80, 7: 0, 8: mac[0] ^ 2, 9: mac[1], 10: mac[2], 11: 0xff, 12: 0xfe, 13: mac[3], 14: mac[4], 15: mac[5]}
}

func (h *Handle) saveRules(s *Snapshot) error {
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		messages, err := h.dump(unix.RTM_GETRULE, &nl.RtMsg{RtMsg: unix.RtMsg{Family: family}})
		if err != nil && !errors.Is(err, unix.EAFNOSUPPORT) && !errors.Is(err, unix.EOPNOTSUPP) {
			return failure("list", "rules", err)
		}
		for _, raw := range messages {
			m, err := parseMessage(raw, sizeofRuleHeader)
			if err != nil {
				return failure("list", "rules", err)
			}
			if m.header[0] == family && !ofEveryNamespace(m) {
				s.Rules = append(s.Rules, SavedMessage(raw))
			}
		}
	}
	return nil
}

const (
	sizeofRuleHeader = 12 // struct fib_rule_hdr
	fraProtocol      = 21 // FRA_PROTOCOL
	fraL3mdev        = 19 // FRA_L3MDEV
)

// ofEveryNamespace reports whether a rule is one of those to local, main and default that
// a namespace begins with, or the one that its first VRF brings.
func ofEveryNamespace(m message) bool {
	priority, _ := m.uint32(nl.FRA_PRIORITY)
	protocol := m.get(fraProtocol)
	byKernel := len(protocol) == 0 || protocol[0] == unix.RTPROT_KERNEL
	return byKernel && (slices.Contains([]uint32{0, 32766, 32767}, priority) || m.has(fraL3mdev))
}

func (h *Handle) saveNeighbours(s *Snapshot) error {
	for _, flags := range []uint8{0, netlink.NTF_PROXY} {
		for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
			messages, err := h.dump(unix.RTM_GETNEIGH, &netlink.Ndmsg{Family: family, Flags: flags})
			if err != nil {
				return failure("list", "neighbours", err)
			}
			for _, raw := range messages {
				m, err := parseMessage(raw, unix.SizeofNdMsg)
				if err != nil {
					return failure("list", "neighbours", err)
				}
				if m.header[0] == family && neighbourWasMade(m) {
					s.Neighbours = append(s.Neighbours, SavedMessage(raw))
				}
			}
		}
	}
	return nil
}

func neighbourWasMade(m message) bool {
	state, flags := m.number(8)&0xffff, m.header[10]
	return state&unix.NUD_PERMANENT != 0 || flags&(netlink.NTF_PROXY|unix.NTF_EXT_LEARNED) != 0
}
