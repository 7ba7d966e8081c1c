package link

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
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
	ns *netns.Namespace

	// own says that ns is to be closed with the handle.
	own bool

	// idle are sockets for the messages that set several things at once, which the
	// library would send one by one. A call takes one for itself, because deleting a
	// link lets its caller wait for milliseconds, and others need not.
	mu   sync.Mutex
	idle []*nl.SocketHandle
}

// Open opens the calling thread's namespace.
func Open() (*Handle, error) {
	ns, err := netns.Current()
	if err != nil {
		return nil, err
	}
	h, err := In(ns)
	if err != nil {
		ns.Close()
		return nil, err
	}
	h.own = true
	return h, nil
}

// In opens the namespace ns, which must stay open as long as the handle.
func In(ns *netns.Namespace) (*Handle, error) {
	h, err := netlink.NewHandleAt(vnetns.NsHandle(ns.Fd()), unix.NETLINK_ROUTE)
	if err == nil {
		err = h.SetSocketTimeout(answerTime)
	}
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	return &Handle{nl: h, ns: ns}, nil
}

// Close closes the sockets; the handle cannot be used any more.
func (h *Handle) Close() error {
	h.nl.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.idle {
		s.Close()
	}
	h.idle = nil
	if h.own {
		return h.ns.Close()
	}
	return nil
}

// send sends a message of the given kind and waits for the kernel's answer.
func (h *Handle) send(kind, flags int, data ...nl.NetlinkRequestData) error {
	socket, err := h.take()
	if err != nil {
		return err
	}
	defer h.giveBack(socket)
	req := nl.NewNetlinkRequest(kind, flags|unix.NLM_F_ACK)
	req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: socket}
	for _, d := range data {
		req.AddData(d)
	}
	_, err = req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

func (h *Handle) take() (*nl.SocketHandle, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.idle); n > 0 {
		socket := h.idle[n-1]
		h.idle = h.idle[:n-1]
		return socket, nil
	}
	socket, err := nl.GetNetlinkSocketAt(vnetns.NsHandle(h.ns.Fd()), vnetns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	limit := unix.NsecToTimeval(answerTime.Nanoseconds())
	if err := errors.Join(socket.SetSendTimeout(&limit), socket.SetReceiveTimeout(&limit)); err != nil {
		socket.Close()
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	return &nl.SocketHandle{Socket: socket}, nil
}

func (h *Handle) giveBack(socket *nl.SocketHandle) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.idle = append(h.idle, socket)
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
