package drivers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/seamnet/seam/netns"
)

// reachTime is what a first connection has: links that have just come up may need a
// moment.
const reachTime = 3 * time.Second

// echoPort is where listeners of the suite are.
const echoPort = 7007

// echo answers connections to the address in the namespace with what they say. It ends
// with the check.
func (e *engine) echo(ns *netns.Namespace, a netip.Addr) error {
	var l net.Listener
	err := ns.Do(func() (err error) {
		l, err = net.Listen("tcp", netip.AddrPortFrom(a, echoPort).String())
		return err
	})
	if err != nil {
		return err
	}
	e.cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn) // until the other end closes
			}()
		}
	}()
	return nil
}

// reach says something of so many bytes to the echo at the address, from the namespace, and
// waits for the answer; ns nil: from the host.
func (e *engine) reach(ns *netns.Namespace, a netip.Addr, size int) error {
	return e.reachPort(ns, netip.AddrPortFrom(a, echoPort), size)
}

func (e *engine) reachPort(ns *netns.Namespace, a netip.AddrPort, size int) error {
	if ns == nil {
		here, err := netns.Current()
		if err != nil {
			return err
		}
		defer here.Close()
		ns = here
	}
	ctx, cancel := context.WithTimeout(e.Context(), reachTime)
	defer cancel()
	for {
		err := exchange(ctx, ns, a, size)
		if err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func exchange(ctx context.Context, ns *netns.Namespace, a netip.AddrPort, size int) error {
	var conn net.Conn
	err := ns.Do(func() (err error) {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", a.String())
		return err
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	said := strings.Repeat("seam", size/4)
	if _, err := io.WriteString(conn, said); err != nil {
		return err
	}
	heard := make([]byte, len(said))
	if _, err := io.ReadFull(conn, heard); err != nil {
		return fmt.Errorf("no echo of %d bytes: %w", size, err)
	}
	if string(heard) != said {
		return errors.New("the echo is not what was said")
	}
	return nil
}

// datagram sends one of so many bytes by UDP, again if it is lost, and waits until it arrives.
func (e *engine) datagram(from, to *netns.Namespace, a netip.Addr, size int) error {
	var in, out net.Conn
	err := to.Do(func() (err error) {
		in, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, echoPort)))
		return err
	})
	if err != nil {
		return err
	}
	defer in.Close()
	err = from.Do(func() (err error) {
		out, err = net.Dial("udp", netip.AddrPortFrom(a, echoPort).String())
		return err
	})
	if err != nil {
		return err
	}
	defer out.Close()
	const tries = 5
	for range tries {
		if _, err = out.Write(make([]byte, size)); err != nil {
			continue // told of an earlier one
		}
		if err := in.SetReadDeadline(time.Now().Add(reachTime / tries)); err != nil {
			return err
		}
		if _, err = in.Read(make([]byte, size)); err == nil {
			return nil
		}
	}
	return fmt.Errorf("a datagram of %d bytes: %w", size, err)
}
