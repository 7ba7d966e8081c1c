package link

import (
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	vnetns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A Move is what becomes of a link that is moved to another namespace.
type Move struct {
	To    *Handle // of the namespace
	Name  string  // its name there
	Alias string  // its alias there; empty: none
}

// Move takes a link to another namespace, in one message: nobody there is told of it
// before the kernel has given up its lock, when it has its name. It goes down and loses
// its addresses, its routes and its master; its index may be another one there.
//
// That the name is taken matches fs.ErrExist. The link is then where it was if its old
// name is taken too, else already in the other namespace, under its old name.
func (h *Handle) Move(l Link, m Move) error {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(l.Index)
	err := h.send(unix.RTM_SETLINK, 0, msg,
		nl.NewRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(m.To.ns.Fd()))),
		nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(m.Name)),
		nl.NewRtAttr(unix.IFLA_IFALIAS, []byte(m.Alias)))
	return failure("move link", l.Name+" to be "+m.Name, err)
}

// Rename gives the link, which must be down, another name. That it is taken matches
// fs.ErrExist.
func (h *Handle) Rename(l Link, name string) error {
	return failure("rename link", l.Name+" to "+name, h.nl.LinkSetName(device(l), name))
}

// ClearAlias leaves the link without alias.
func (h *Handle) ClearAlias(l Link) error {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(l.Index)
	return failure("clear alias of", l.Name, h.send(unix.RTM_SETLINK, 0, msg, nl.NewRtAttr(unix.IFLA_IFALIAS, nil)))
}

// A SavedAddr is an address as the kernel described it, with everything that it had.
type SavedAddr []byte

// SaveAddrs returns the addresses of a link that a move loses and that nothing brings
// back by itself: those that are permanent and known beyond the link. Only this link's
// are asked for, however many others there are.
func (h *Handle) SaveAddrs(l Link) ([]SavedAddr, error) {
	socket, err := nl.GetNetlinkSocketAt(vnetns.NsHandle(h.ns.Fd()), vnetns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, failure("addresses of", l.Name, err)
	}
	defer socket.Close()
	// Strict: by this alone the kernel heeds the index.
	if err := unix.SetsockoptInt(socket.GetFd(), unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1); err != nil {
		return nil, failure("addresses of", l.Name, err)
	}
	messages, err := retry(func() ([][]byte, error) {
		req := nl.NewNetlinkRequest(unix.RTM_GETADDR, unix.NLM_F_DUMP)
		req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: socket}}
		msg := nl.NewIfAddrmsg(unix.AF_UNSPEC)
		msg.Index = uint32(l.Index)
		req.AddData(msg)
		return req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWADDR)
	})
	var saved []SavedAddr
	for _, m := range messages {
		a := nl.DeserializeIfAddrmsg(m)
		if a.Index == uint32(l.Index) && a.Scope < unix.RT_SCOPE_LINK && a.Flags&unix.IFA_F_PERMANENT != 0 {
			saved = append(saved, SavedAddr(m))
		}
	}
	return saved, failure("addresses of", l.Name, err)
}

// RestoreAddr adds a saved address; one that is there already matches fs.ErrExist.
func (h *Handle) RestoreAddr(l Link, a SavedAddr) error {
	header := new(nl.IfAddrmsg)
	if len(a) < header.Len() {
		return failure("restore address of", l.Name, unix.EINVAL)
	}
	*header = *nl.DeserializeIfAddrmsg(a)
	header.Index = uint32(l.Index)
	attributes := rawAttributes(a[header.Len():])
	return failure("restore address of", l.Name, h.send(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, header, attributes))
}

// rawAttributes are a message's as they came.
type rawAttributes []byte

func (r rawAttributes) Len() int          { return len(r) }
func (r rawAttributes) Serialize() []byte { return r }

// DeleteAltName takes from a link a name that AddAltName gave it.
func (h *Handle) DeleteAltName(l Link, name string) error {
	return failure("take from link", l.Name+" its name "+name, h.nl.LinkDelAltName(device(l), name))
}

// AltNames returns them all.
func (h *Handle) AltNames(l Link) ([]string, error) {
	is, err := h.nl.LinkByIndex(l.Index)
	if err != nil {
		return nil, failure("link", l.Name, err)
	}
	return is.Attrs().AltNames, nil
}

// Physical reports whether the link is of a device that the kernel brings back to its
// first namespace when the one that it is in ends; others end with it.
func Physical(l Link) bool { return l.Kind == (&netlink.Device{}).Type() || l.Kind == "can" }
