package link

import (
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// An Arrival puts frames in as if a link had received them: to ask what becomes of packets
// from elsewhere without a machine there. It is a tap whose frames the kernel redirects,
// and which ends with the process, however that ends.
type Arrival struct {
	tap *os.File
}

// arrivalName is for the kernel to number.
const arrivalName = "seam-trace%d"

// OpenArrival opens one for a link with Ethernet's addresses.
func (h *Handle) OpenArrival(at Link) (*Arrival, error) {
	if len(at.MAC) != 6 {
		return nil, fmt.Errorf("put frames into %s: it has no address of Ethernet", at.Name)
	}
	a := &Arrival{}
	err := h.ns.Do(func() error { return a.open(h, at) })
	if err != nil && a.tap != nil {
		err = errors.Join(err, a.Close())
	}
	return a, failure("put frames into", at.Name, err)
}

// open must run inside, as the tap and its settings are of the thread's namespace.
func (a *Arrival) open(h *Handle, at Link) error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: "/dev/net/tun", Err: err}
	}
	a.tap = os.NewFile(uintptr(fd), "/dev/net/tun")
	ifr, err := unix.NewIfreq(arrivalName)
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		return fmt.Errorf("TUNSETIFF: %w", err)
	}
	tap, err := h.ByName(ifr.Name())
	if err != nil {
		return err
	}
	// It is to have no traffic of its own. Where there is no IPv6 there is no setting.
	if err := Sysctl("ipv6/conf/" + tap.Name + "/disable_ipv6").Set("1"); err != nil && !Missing(err) {
		return err
	}
	if err := h.redirectArrival(tap, at); err != nil {
		return err
	}
	// With the same address, frames to at are to this host also when the tap gets them.
	return h.Set(tap, Change{Up: true, MAC: at.MAC})
}

func (h *Handle) redirectArrival(tap, at Link) error {
	attrs := netlink.QdiscAttrs{LinkIndex: tap.Index, Handle: ingressHandle, Parent: netlink.HANDLE_INGRESS}
	if err := h.nl.QdiscAdd(&netlink.Ingress{QdiscAttrs: attrs}); err != nil {
		return err
	}
	redirect := netlink.NewMirredAction(at.Index)
	redirect.MirredAction = netlink.TCA_INGRESS_REDIR
	return h.nl.FilterAdd(&netlink.U32{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: tap.Index, Parent: ingressHandle, Priority: priorityAll, Protocol: unix.ETH_P_ALL},
		ClassId:     rootHandle,
		Actions:     []netlink.Action{redirect},
	})
}

// Send puts a frame in, with its header of Ethernet.
func (a *Arrival) Send(frame []byte) error {
	if _, err := a.tap.Write(frame); err != nil {
		return fmt.Errorf("put frame in: %w", err)
	}
	return nil
}

// Close removes the tap.
func (a *Arrival) Close() error { return a.tap.Close() }
