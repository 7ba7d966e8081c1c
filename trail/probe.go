package trail

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/nft"
)

// A probe is a packet about to be sent: a connection, a datagram or an echo request, from a
// socket whose port is known beforehand.
type probe struct {
	fd     int
	packet nft.Packet
}

// newProbe opens the socket in ns, nil for the calling thread's namespace.
func newProbe(ns *netns.Namespace, p nft.Packet) (*probe, error) {
	kind, proto := unix.SOCK_STREAM, 0
	switch p.Protocol {
	case unix.IPPROTO_UDP:
		kind = unix.SOCK_DGRAM
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		kind, proto = unix.SOCK_RAW, int(p.Protocol)
	}
	family := unix.AF_INET
	if p.To.Addr().Is6() {
		family = unix.AF_INET6
	}
	pr := &probe{fd: -1, packet: p}
	open := func() (err error) {
		pr.fd, err = unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto)
		return err
	}
	var err error
	if ns == nil {
		err = open()
	} else {
		err = ns.Do(open)
	}
	if err == nil {
		err = pr.bind()
	}
	if err != nil {
		pr.close()
		return nil, fmt.Errorf("open probe from %s: %w", p.From.Addr(), err)
	}
	return pr, nil
}

func (p *probe) bind() error {
	if err := unix.Bind(p.fd, sockaddr(netip.AddrPortFrom(p.packet.From.Addr(), 0))); err != nil {
		return err
	}
	port := uint16(unix.Getpid()) // an echo's identifier
	if !isEcho(p.packet) {
		own, err := unix.Getsockname(p.fd)
		if err != nil {
			return err
		}
		switch a := own.(type) {
		case *unix.SockaddrInet4:
			port = uint16(a.Port)
		case *unix.SockaddrInet6:
			port = uint16(a.Port)
		}
	} else {
		p.packet.To = netip.AddrPortFrom(p.packet.To.Addr(), port)
	}
	p.packet.From = netip.AddrPortFrom(p.packet.From.Addr(), port)
	// Else a refusal by a router is not told to a socket that is not connected yet.
	if p.packet.To.Addr().Is4() {
		return unix.SetsockoptInt(p.fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1)
	}
	return unix.SetsockoptInt(p.fd, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1)
}

func (p *probe) close() {
	if p.fd >= 0 {
		unix.Close(p.fd)
	}
}

// send sends the packet and waits for what becomes of it.
func (p *probe) send(ctx context.Context, wait time.Duration) (Outcome, string) {
	to := p.packet.To
	if isEcho(p.packet) {
		to = netip.AddrPortFrom(to.Addr(), 0)
	}
	err := unix.Connect(p.fd, sockaddr(to))
	if err == nil && p.packet.Protocol != unix.IPPROTO_TCP {
		_, err = unix.Write(p.fd, p.payload())
	}
	if err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return outcomeOf(err)
	}
	for deadline := time.Now().Add(wait); time.Now().Before(deadline) && ctx.Err() == nil; {
		if done, err := p.poll(); done {
			return p.result(err)
		}
	}
	return outcomeOf(unix.ETIMEDOUT)
}

// poll waits a moment for an answer or an error.
func (p *probe) poll() (done bool, err error) {
	const moment = 20 // ms
	events := int16(unix.POLLIN)
	if p.packet.Protocol == unix.IPPROTO_TCP {
		events = unix.POLLOUT
	}
	fds := []unix.PollFd{{Fd: int32(p.fd), Events: events}}
	if n, err := unix.Poll(fds, moment); n <= 0 || err != nil {
		return false, nil // nothing yet, or a signal: the context tells
	}
	errno, err := unix.GetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = unix.Errno(errno)
	}
	if err != nil || p.packet.Protocol == unix.IPPROTO_TCP {
		return true, err
	}
	return p.receive()
}

// receive reads an answer; of echoes, others' arrive, too.
func (p *probe) receive() (done bool, err error) {
	b := make([]byte, 2048)
	n, err := unix.Read(p.fd, b)
	if errors.Is(err, unix.EAGAIN) {
		return false, nil
	}
	if err != nil || !isEcho(p.packet) {
		return true, err
	}
	b = b[:n]
	if p.packet.Protocol == unix.IPPROTO_ICMP && n > 20 {
		b = b[int(b[0]&0xf)*4:] // raw sockets of IPv4 get its header, too
	}
	return len(b) >= 6 && (b[0] == 0 || b[0] == 129) && binary.BigEndian.Uint16(b[4:]) == p.packet.From.Port(), nil
}

// payload is what is written: nothing of a datagram, or an echo request.
func (p *probe) payload() []byte {
	if !isEcho(p.packet) {
		return nil
	}
	return echoRequest(p.packet)
}

func echoRequest(p nft.Packet) []byte {
	b := make([]byte, 16)
	b[0] = 8
	if p.Protocol == unix.IPPROTO_ICMPV6 {
		b[0] = 128 // the kernel sums up
	}
	binary.BigEndian.PutUint16(b[4:], p.From.Port())
	b[7] = 1
	if p.Protocol == unix.IPPROTO_ICMP {
		binary.BigEndian.PutUint16(b[2:], checksum(b, 0))
	}
	return b
}

func (p *probe) result(err error) (Outcome, string) {
	switch {
	case err != nil:
		return outcomeOf(err)
	case p.packet.Protocol == unix.IPPROTO_TCP:
		return Connected, ""
	}
	return Answered, ""
}

func outcomeOf(err error) (Outcome, string) {
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return Refused, err.Error()
	case errors.Is(err, unix.ETIMEDOUT):
		return NoAnswer, ""
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EACCES), errors.Is(err, unix.EMSGSIZE):
		return Unreachable, err.Error()
	}
	return NotSent, err.Error()
}

func isEcho(p nft.Packet) bool {
	return p.Protocol == unix.IPPROTO_ICMP || p.Protocol == unix.IPPROTO_ICMPV6
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// checksum is that of the Internet (RFC 1071), continued from sum.
func checksum(b []byte, sum uint32) uint16 {
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
