package link

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A Link is a device as the kernel reports it.
type Link struct {
	Index    int
	Name     string
	Alias    string // the tag of what it was made for
	Kind     string // veth, bridge, …; "device" for hardware and loopback
	MAC      net.HardwareAddr
	MTU      int // bytes
	Up       bool
	Running  bool // up and able to carry frames: operational state "up", or "unknown" where it stays so
	Promisc  bool
	Allmulti bool // it receives every multicast frame, as was asked for
	TxQLen   int  // packets; 0: it has no queue
	Master   int  // index of the bridge it is a port of; 0: none
	Peer     int  // of a veth: the other end's index in the namespace where that is; 0: unknown
	Parent   int  // of a macvlan, ipvlan or vlan: the index of what it stands on, in the namespace where that is

	// Of a bridge port, for who asked Handle.Port and puts the answer here: links are not
	// told with it.
	Hairpin, Isolated bool
}

func fromNetlink(l netlink.Link) Link {
	a := l.Attrs()
	link := Link{
		Index: a.Index, Name: a.Name, Alias: a.Alias, Kind: l.Type(), MAC: a.HardwareAddr, MTU: a.MTU,
		Up:       a.Flags&net.FlagUp != 0,
		Running:  a.Flags&net.FlagUp != 0 && (a.OperState == netlink.OperUp || a.OperState == netlink.OperUnknown && l.Type() != "veth"),
		Promisc:  a.Promisc > 0,
		Allmulti: a.RawFlags&unix.IFF_ALLMULTI != 0,
		TxQLen:   a.TxQLen,
		Master:   a.MasterIndex,
	}
	if link.Kind == "veth" {
		link.Peer = a.ParentIndex
	} else {
		link.Parent = a.ParentIndex
	}
	return link
}

// ByName returns the link of that name.
func (h *Handle) ByName(name string) (Link, error) {
	kind := unix.IFLA_IFNAME
	if len(name) >= unix.IFNAMSIZ {
		kind = unix.IFLA_ALT_IFNAME
	}
	l, err := h.get(nl.NewIfInfomsg(unix.AF_UNSPEC), nl.NewRtAttr(kind, nl.ZeroTerminated(name)))
	return l, failure("link", name, err)
}

// ByIndex returns the link of that index.
func (h *Handle) ByIndex(index int) (Link, error) {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	l, err := h.get(msg)
	return l, failure("link", fmt.Sprintf("%d", index), err)
}

// get asks for one link, without its counters.
func (h *Handle) get(msg *nl.IfInfomsg, data ...nl.NetlinkRequestData) (Link, error) {
	const skipCounters = 1 << 3 // RTEXT_FILTER_SKIP_STATS
	mask := nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(skipCounters))
	answer, err := h.ask(unix.RTM_GETLINK, 0, append([]nl.NetlinkRequestData{msg, mask}, data...)...)
	if errors.Is(err, unix.ENODEV) {
		return Link{}, notThere
	}
	if err != nil {
		return Link{}, err
	}
	l, err := netlink.LinkDeserialize(nil, answer)
	if err != nil {
		return Link{}, err
	}
	return fromNetlink(l), nil
}

// List returns all links: not for the path of an attachment.
func (h *Handle) List() ([]Link, error) {
	all, err := retry(h.nl.LinkList)
	if err != nil {
		return nil, failure("list", "links", err)
	}
	links := make([]Link, len(all))
	for i, l := range all {
		links[i] = fromNetlink(l)
	}
	return links, nil
}

// Tagged returns the links whose alias begins with prefix: not for the path of an
// attachment.
func (h *Handle) Tagged(prefix string) ([]Link, error) {
	all, err := h.List()
	if err != nil {
		return nil, err
	}
	var tagged []Link
	for _, l := range all {
		if l.Alias != "" && strings.HasPrefix(l.Alias, prefix) {
			tagged = append(tagged, l)
		}
	}
	return tagged, nil
}

// Delete deletes the link of that name and with it its addresses, its routes and,
// of a veth, its peer. That there is none matches fs.ErrNotExist.
func (h *Handle) Delete(name string) error {
	err := h.send(unix.RTM_DELLINK, 0, nl.NewIfInfomsg(unix.AF_UNSPEC), nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	return failure("delete link", name, err)
}

// A Change is what Set does to a link, in one message. What is zero stays.
type Change struct {
	Up     bool
	Down   bool
	MAC    net.HardwareAddr
	MTU    int    // bytes
	Alias  string // at most 255 bytes
	Master int    // index of a bridge to become a port of
}

// Set changes a link, which may be known by nothing but its name.
func (h *Handle) Set(l Link, c Change) error {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(l.Index)
	if c.Up || c.Down {
		msg.Change = unix.IFF_UP
	}
	if c.Up {
		msg.Flags = unix.IFF_UP
	}
	data := []nl.NetlinkRequestData{msg}
	if l.Index == 0 {
		data = append(data, nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(l.Name)))
	}
	if c.MAC != nil {
		data = append(data, nl.NewRtAttr(unix.IFLA_ADDRESS, c.MAC))
	}
	if c.MTU != 0 {
		data = append(data, nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(c.MTU))))
	}
	if c.Alias != "" {
		data = append(data, nl.NewRtAttr(unix.IFLA_IFALIAS, []byte(c.Alias)))
	}
	if c.Master != 0 {
		data = append(data, nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(uint32(c.Master))))
	}
	return failure("set link", sized(l.Name, c.MTU), h.send(unix.RTM_SETLINK, 0, data...))
}

// SetPromisc makes the link receive every frame, or not.
func (h *Handle) SetPromisc(l Link, on bool) error {
	set := h.nl.SetPromiscOff
	if on {
		set = h.nl.SetPromiscOn
	}
	return failure("set promiscuous", l.Name, set(device(l)))
}

// device is what the library wants to be given for a link that is known by index.
func device(l Link) netlink.Link {
	return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: l.Index, Name: l.Name}}
}
