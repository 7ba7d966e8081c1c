package dhcp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns"
	"golang.org/x/sys/unix"
)

// A place says which link a lease is for, as the path of a namespace can be used
// again. The namespace is not held open between two messages, which would keep that
// of an ended container alive.
type place struct {
	Namespace uint64 `json:"namespace"` // the kernel's cookie, given once; 0 on kernels before 5.14
	Link      int    `json:"link"`      // index
}

// errReplaced matches fs.ErrNotExist, as do a missing namespace and a missing link.
const errReplaced link.NotThere = "is another one than the lease was for"

// runningTime bounds the wait for a link that was set up. What is sent too early is
// lost and sent again.
const runningTime = time.Second

// open opens a raw socket on the lease's link and returns the link. With up, it is set
// up if it is not.
func (c client) open(l *lease, up bool) (conn net.PacketConn, at link.Link, err error) {
	err = c.inside(l, func(ns *netns.Namespace, pod *link.Handle, found link.Link) error {
		at = found
		if up && !at.Up {
			if err := setUp(pod, at); err != nil {
				return err
			}
		}
		return ns.Do(func() (err error) {
			conn, err = nclient4.NewRawUDPConn(found.Name, nclient4.ClientPort) // whose second name IfName may be
			return err
		})
	})
	return conn, at, err
}

// inside opens the lease's namespace and finds its link. A lease without a place gets
// this one.
func (c client) inside(l *lease, do func(*netns.Namespace, *link.Handle, link.Link) error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("namespace %s: %w", l.NetNS, err)
		}
	}()
	ns, err := netns.Open(c.prefix + l.NetNS)
	if err != nil {
		return err
	}
	defer ns.Close()
	pod, err := link.In(ns)
	if err != nil {
		return err
	}
	defer pod.Close()
	at, err := pod.ByName(l.IfName)
	if err != nil {
		return err
	}
	here := place{Link: at.Index}
	if here.Namespace, err = cookie(ns); err != nil {
		return err
	}
	switch {
	case l.Place == (place{}), l.movedTo(at):
		l.Place = here
	case l.Place != here:
		return fmt.Errorf("link %s: %w", l.IfName, errReplaced)
	}
	return do(ns, pod, at)
}

// movedTo reports whether the link is the lease's, wherever it is: who carries an
// interface on to another namespace, as Docker's engines do, mounts that one in the place
// of the first.
func (l *lease) movedTo(at link.Link) bool {
	return l.Message != nil && bytes.Equal(l.Message.ClientHWAddr, at.MAC)
}

func setUp(pod *link.Handle, l link.Link) error {
	if err := pod.Set(l, link.Change{Up: true}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), runningTime)
	defer cancel()
	_, _ = pod.WaitRunning(ctx, l.Name)
	return nil
}

// setDown takes the link of a lease that ended out of use.
func (c client) setDown(l *lease) error {
	return c.inside(l, func(_ *netns.Namespace, pod *link.Handle, at link.Link) error {
		return pod.Set(at, link.Change{Down: true})
	})
}

// cookie returns the number that the kernel gave the namespace.
func cookie(ns *netns.Namespace) (n uint64, err error) {
	err = ns.Do(func() error {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		n, err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
		if errors.Is(err, unix.ENOPROTOOPT) {
			return nil
		}
		return err
	})
	return n, err
}
