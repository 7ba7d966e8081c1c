package link

import (
	"errors"
	"fmt"
	"sync"

	"github.com/seamnet/seam/netns"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

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
	idle []*socket
}

// Open opens the calling thread's namespace.
func Open() (*Handle, error) {
	ns, err := netns.Current()
	if err != nil {
		return nil, err
	}
	h := &Handle{ns: ns, own: true}
	if err := h.open(); err != nil {
		ns.Close()
		return nil, err
	}
	return h, nil
}

// In opens the namespace ns, which must stay open as long as the handle.
func In(ns *netns.Namespace) (*Handle, error) {
	h := &Handle{ns: ns}
	if err := ns.Do(h.open); err != nil {
		return nil, err
	}
	return h, nil
}

// open opens the sockets in the calling thread's namespace. The library's have no time
// limits: the kernel answers at once, and each limit would be a timer.
func (h *Handle) open() (err error) {
	if h.nl, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	s, err := dial()
	if err != nil {
		h.nl.Close()
		return err
	}
	h.idle = append(h.idle, s)
	return nil
}

// Close closes the sockets; the handle cannot be used any more.
func (h *Handle) Close() error {
	h.nl.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.idle {
		s.close()
	}
	h.idle = nil
	if h.own {
		return h.ns.Close()
	}
	return nil
}

// send sends a message of the given kind and waits for the kernel's answer.
func (h *Handle) send(kind, flags int, data ...nl.NetlinkRequestData) error {
	_, err := h.ask(kind, flags|unix.NLM_F_ACK, data...)
	return err
}

// ask sends a message that has one answer, and returns what that holds.
func (h *Handle) ask(kind, flags int, data ...nl.NetlinkRequestData) ([]byte, error) {
	s, err := h.take()
	if err != nil {
		return nil, err
	}
	defer h.giveBack(s)
	req := nl.NewNetlinkRequest(kind, flags)
	for _, d := range data {
		req.AddData(d)
	}
	return s.ask(req)
}

func (h *Handle) take() (s *socket, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.idle); n > 0 {
		s = h.idle[n-1]
		h.idle = h.idle[:n-1]
		return s, nil
	}
	err = h.ns.Do(func() (err error) {
		s, err = dial()
		return err
	})
	return s, err
}

func (h *Handle) giveBack(s *socket) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.idle = append(h.idle, s)
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
