package link

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seamnet/seam/netns"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	vnetns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// answerTime bounds the wait for the kernel's answer. Deleting a namespace full of
// bridges elsewhere on the machine holds the kernel's lock for seconds.
const answerTime = 30 * time.Second

// A Handle is a door to the links of one network namespace.
type Handle struct {
	nl *netlink.Handle

	// raw serves the messages that set several things at once, which the library
	// would send one by one. It is opened when first needed: in a pod, rarely.
	raw     func() (map[int]*nl.SocketHandle, error)
	usedRaw atomic.Bool
}

// Open opens the calling thread's namespace.
func Open() (*Handle, error) {
	h, err := open(vnetns.None())
	if err != nil {
		return nil, err
	}
	// Now, as the thread that needs it first may be in another namespace.
	if _, err := h.raw(); err != nil {
		h.nl.Close()
		return nil, err
	}
	h.usedRaw.Store(true)
	return h, nil
}

// In opens the namespace ns, which must stay open as long as the handle.
func In(ns *netns.Namespace) (*Handle, error) { return open(vnetns.NsHandle(ns.Fd())) }

func open(ns vnetns.NsHandle) (*Handle, error) {
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err == nil {
		err = h.SetSocketTimeout(answerTime)
	}
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	return &Handle{nl: h, raw: sync.OnceValues(func() (map[int]*nl.SocketHandle, error) { return openRaw(ns) })}, nil
}

func openRaw(ns vnetns.NsHandle) (map[int]*nl.SocketHandle, error) {
	socket, err := nl.GetNetlinkSocketAt(ns, vnetns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	limit := unix.NsecToTimeval(answerTime.Nanoseconds())
	if err := errors.Join(socket.SetSendTimeout(&limit), socket.SetReceiveTimeout(&limit)); err != nil {
		socket.Close()
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	return map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: socket}}, nil
}

// Close closes the sockets; the handle cannot be used any more.
func (h *Handle) Close() error {
	h.nl.Close()
	if h.usedRaw.Load() {
		sockets, _ := h.raw()
		for _, s := range sockets {
			s.Close()
		}
	}
	return nil
}

// failure names what was done to what, and translates the kernel's errno: the one
// place where they are known.
func failure(op, subject string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[netlink.LinkNotFoundError](err); ok {
		return fmt.Errorf("%s %s: %w", op, subject, fs.ErrNotExist)
	}
	switch {
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ESRCH), errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("%s %s: %w (%w)", op, subject, err, fs.ErrNotExist)
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%s %s: not supported by this kernel: %w", op, subject, err)
	}
	return fmt.Errorf("%s %s: %w", op, subject, err)
}

// retry repeats a dump that the kernel interrupted because the table changed
// meanwhile.
func retry[T any](dump func() ([]T, error)) ([]T, error) {
	for range 8 {
		list, err := dump()
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return list, err
		}
	}
	return dump()
}
