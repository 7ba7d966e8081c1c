package link

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A Tap is a link to be made whose frames a program reads and writes, a virtual
// machine's say, by attaching to it through /dev/net/tun.
type Tap struct {
	Name       string
	MTU        int              // bytes; 0: the kernel's default
	MAC        net.HardwareAddr // nil: random
	MultiQueue bool             // programs may attach several queues
	Owner      *uint32          // the user that may attach; nil: only who may administer the network
	Group      *uint32          // the group that may attach
}

// AddTap makes it, down, to stay until it is deleted. It stays only from when it is
// complete: until then it ends with the process. That the name is taken matches
// fs.ErrExist.
func (h *Handle) AddTap(t Tap) error {
	return failure("add tap", sized(t.Name, t.MTU), h.ns.Do(func() error { return h.addTap(t) }))
}

// addTap must run inside: a tap is made in the namespace of the thread that opens the device.
func (h *Handle) addTap(t Tap) error {
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	fd := int(f.Fd())
	ifr, err := unix.NewIfreq(t.Name)
	if err != nil {
		return err
	}
	// Without the last, one of that name would be taken over.
	flags := uint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_TUN_EXCL)
	if t.MultiQueue {
		flags |= unix.IFF_MULTI_QUEUE
	}
	ifr.SetUint16(flags)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("%w (%w)", err, fs.ErrExist)
	} else if err != nil {
		return fmt.Errorf("TUNSETIFF: %w", err)
	}
	for _, may := range []struct {
		attach  string
		id      *uint32
		request uint
	}{{"owner", t.Owner, unix.TUNSETOWNER}, {"group", t.Group, unix.TUNSETGROUP}} {
		if may.id == nil {
			continue
		}
		if err := unix.IoctlSetInt(fd, may.request, int(*may.id)); err != nil {
			return fmt.Errorf("%s %d: %w", may.attach, *may.id, err)
		}
	}
	if t.MTU != 0 || t.MAC != nil {
		if err := h.Set(Link{Name: t.Name}, Change{MTU: t.MTU, MAC: t.MAC}); err != nil {
			return err
		}
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1); err != nil {
		return fmt.Errorf("TUNSETPERSIST: %w", err)
	}
	return nil
}

// TapOf returns what a tap was made with. No owner reads as 0, as root does, who may
// attach anyway; so does no group.
func (h *Handle) TapOf(l Link) (Tap, error) {
	is, err := h.nl.LinkByIndex(l.Index)
	if err != nil {
		return Tap{}, failure("link", l.Name, err)
	}
	tap, ok := is.(*netlink.Tuntap)
	if !ok || tap.Mode != unix.IFF_TAP {
		return Tap{}, fmt.Errorf("link %s: is a %s, not a tap", l.Name, l.Kind)
	}
	return Tap{
		Name: l.Name, MTU: l.MTU, MAC: l.MAC,
		MultiQueue: tap.Flags&netlink.TUNTAP_MULTI_QUEUE != 0,
		Owner:      &tap.Owner, Group: &tap.Group,
	}, nil
}
