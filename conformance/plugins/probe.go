package plugins

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/seamnet/seam/netns"
	"golang.org/x/sys/unix"
)

// Probes are conversations between two places of a check: a server that says whom it
// sees, and someone who asks it. A socket stays in the namespace where it was opened.
const (
	probePort = 7007            // where servers listen
	probeTime = 2 * time.Second // an answer takes no longer
	quietTime = 400 * time.Millisecond
	// quietTime is enough to believe that there is none: nothing here is farther than a
	// namespace away.
)

// protocols are those that a probe speaks.
func protocols() []string { return []string{"tcp", "udp"} }

// here is the host itself as a place.
func (h *host) here() *pod {
	ns, err := netns.Current()
	h.Must(err)
	h.Cleanup(func() { ns.Close() })
	return &pod{Name: "the host", ns: ns, links: h.links}
}

// A witness is what a server tells: who it is, and whom it sees.
type witness struct {
	Name string
	Peer netip.Addr
}

func (w witness) String() string { return fmt.Sprintf("%s, which sees %v", w.Name, w.Peer) }

// A probe is one question from a place to an address.
type probe struct {
	From     *pod
	Protocol string
	To       netip.AddrPort
	Source   netip.Addr    // asked from; invalid: any
	Port     uint16        // asked from; 0: any
	Size     int           // of a UDP datagram, which must not be fragmented; 0: it is small
	Patience time.Duration // 0: probeTime
}

func (p probe) String() string {
	return fmt.Sprintf("%s from %s to %v", p.Protocol, p.From.Name, p.To)
}

// serve has a place answer at an address of its own, by TCP and UDP, until the check ends.
func (h *host) serve(p *pod, addr netip.Addr) { h.serveAt(p, netip.AddrPortFrom(addr, probePort)) }

func (h *host) serveAt(p *pod, at netip.AddrPort) {
	var l net.Listener
	var conn net.PacketConn
	listen := func() error {
		return p.ns.Do(func() (err error) {
			if l, err = new(net.ListenConfig).Listen(h.Context(), "tcp", at.String()); err != nil {
				return err
			}
			if conn, err = new(net.ListenConfig).ListenPacket(h.Context(), "udp", at.String()); err != nil {
				l.Close()
			}
			return err
		})
	}
	err := listen()
	for deadline := time.Now().Add(probeTime); err != nil && time.Now().Before(deadline); err = listen() {
		time.Sleep(10 * time.Millisecond) // an address may not be usable yet
	}
	if err != nil {
		h.Fatalf("nothing can listen in %s: %v", p.Name, err)
	}
	h.Cleanup(func() { l.Close(); conn.Close() })
	go serveTCP(l, p.Name)
	go serveUDP(conn, p.Name)
}

func sight(name string, peer net.Addr) string {
	return name + "\t" + netip.MustParseAddrPort(peer.String()).Addr().Unmap().WithZone("").String()
}

func serveTCP(l net.Listener, name string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			converse(c, name)
		}()
	}
}

// converse answers one connection: "who", "take N" and "give N" bytes.
func converse(c net.Conn, name string) {
	r := bufio.NewReader(c)
	line, err := r.ReadString('\n')
	if err != nil {
		return
	}
	var n int64
	switch {
	case scan(line, "take %d", &n):
		sum := crc32.NewIEEE()
		_, _ = io.CopyN(sum, r, n) // too few: another sum
		fmt.Fprintf(c, "%08x", sum.Sum32())
	case scan(line, "give %d", &n):
		_, _ = io.CopyN(c, new(pattern), n)
	default:
		_, _ = io.WriteString(c, sight(name, c.RemoteAddr()))
	}
}

func scan(line, format string, n *int64) bool {
	_, err := fmt.Sscanf(line, format, n)
	return err == nil
}

// serveUDP answers with datagrams as long as the question's.
func serveUDP(conn net.PacketConn, name string) {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // of an earlier answer
		}
		reply := make([]byte, max(n, 64))
		copy(reply, sight(name, from))
		_, _ = conn.WriteTo(reply, from)
	}
}

// pattern is an endless text that does not repeat within a packet, so that bytes lost or
// swapped change a sum.
type pattern struct{ at uint32 }

func (p *pattern) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(p.at * 2654435761 >> 24)
		p.at++
	}
	return len(b), nil
}

// dial opens a connection from the place. Where only who asks from the place's own address
// has a route, it does so.
func (p probe) dial(ctx context.Context) (net.Conn, error) {
	c, err := p.dialOnce(ctx)
	if errors.Is(err, unix.ENETUNREACH) && !p.Source.IsValid() {
		if p.Source = p.From.ruled(p.To.Addr()); p.Source.IsValid() {
			return p.dialOnce(ctx)
		}
	}
	return c, err
}

// ruled returns the address of the family of like from which the place routes by a table
// of its own, or an invalid one.
func (p *pod) ruled(like netip.Addr) netip.Addr {
	rules, _ := p.links.Rules() // none
	for _, r := range rules {
		if r.Source.IsSingleIP() && r.Source.Addr().Is4() == like.Is4() {
			return r.Source.Addr()
		}
	}
	return netip.Addr{}
}

func (p probe) dialOnce(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Timeout: p.patience(), Control: p.control}
	if source := p.Source; p.Port != 0 || source.IsValid() {
		if !source.IsValid() {
			source = unspecified(p.To.Addr())
		}
		local := netip.AddrPortFrom(source, p.Port)
		d.LocalAddr = net.UDPAddrFromAddrPort(local)
		if p.Protocol == "tcp" {
			d.LocalAddr = net.TCPAddrFromAddrPort(local)
		}
	}
	var c net.Conn
	err := p.From.ns.Do(func() (err error) {
		c, err = d.DialContext(ctx, p.Protocol, p.To.String())
		return err
	})
	return c, err
}

// control forbids fragments to a datagram of a size that was asked for.
func (p probe) control(_, _ string, raw syscall.RawConn) error {
	if p.Size == 0 {
		return nil
	}
	var set error
	err := raw.Control(func(fd uintptr) {
		if p.To.Addr().Is4() {
			set = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
		} else {
			set = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO)
		}
	})
	return errors.Join(err, set)
}

func (p probe) patience() time.Duration {
	if p.Patience > 0 {
		return p.Patience
	}
	return probeTime
}

// ask returns what the server tells, or why nobody does.
func (p probe) ask(ctx context.Context) (witness, error) {
	c, err := p.dial(ctx)
	if err != nil {
		return witness{}, err
	}
	defer c.Close()
	return p.over(c)
}

// over asks once more over an open connection. A lost datagram is sent again: on a real
// network nobody relies on one.
func (p probe) over(c net.Conn) (witness, error) {
	question := make([]byte, max(p.Size, 4))
	copy(question, "who\n")
	tries := 1
	if p.Protocol == "udp" {
		tries = 3
	}
	buf := make([]byte, max(p.Size, 64))
	for try := 1; ; try++ {
		if err := c.SetDeadline(time.Now().Add(p.patience() / time.Duration(tries))); err != nil {
			return witness{}, err
		}
		n, err := exchange(c, question, buf)
		if err == nil {
			return parseWitness(buf[:n])
		}
		if try == tries || !isTimeout(err) {
			return witness{}, err
		}
	}
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

func exchange(c net.Conn, question, buf []byte) (int, error) {
	if _, err := c.Write(question); err != nil {
		return 0, err
	}
	return c.Read(buf)
}

func parseWitness(reply []byte) (witness, error) {
	name, peer, ok := strings.Cut(strings.TrimRight(string(reply), "\x00"), "\t")
	addr, err := netip.ParseAddr(peer)
	if !ok || err != nil {
		return witness{}, fmt.Errorf("answer %.60q is not of a probe's server", reply)
	}
	return witness{name, addr}, nil
}

// send sends n bytes to the server and returns how long that took, or what went wrong.
func (p probe) send(ctx context.Context, n int64) (time.Duration, error) {
	c, err := p.dial(ctx)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	c = steady{c}
	start := time.Now()
	fmt.Fprintf(c, "take %d\n", n)
	sum := crc32.NewIEEE()
	sent, err := io.CopyN(io.MultiWriter(c, sum), new(pattern), n)
	if err != nil {
		return 0, fmt.Errorf("after %d of %d bytes: %w", sent, n, err)
	}
	reply, err := io.ReadAll(c)
	if want := fmt.Sprintf("%08x", sum.Sum32()); err != nil || string(reply) != want {
		return 0, errors.Join(fmt.Errorf("the sum of %d bytes is %s where they arrive, not %s", n, reply, want), err)
	}
	return time.Since(start), nil
}

// fetch has the server send n bytes, and returns the same as send.
func (p probe) fetch(ctx context.Context, n int64) (time.Duration, error) {
	c, err := p.dial(ctx)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	c = steady{c}
	start := time.Now()
	fmt.Fprintf(c, "give %d\n", n)
	got, want := crc32.NewIEEE(), crc32.NewIEEE()
	received, err := io.Copy(got, c)
	if err != nil || received != n {
		return 0, errors.Join(fmt.Errorf("%d of %d bytes arrived", received, n), err)
	}
	_, _ = io.CopyN(want, new(pattern), n)
	if got.Sum32() != want.Sum32() {
		return 0, fmt.Errorf("the sum of %d bytes is %08x where they arrive, not %08x", n, got.Sum32(), want.Sum32())
	}
	return time.Since(start), nil
}

// A steady connection is one that must not stand still.
type steady struct{ net.Conn }

// standstill is how long it may: a lost packet is sent again after a fifth of a second.
const standstill = 3 * time.Second

func (s steady) Read(b []byte) (int, error) {
	_ = s.SetDeadline(time.Now().Add(standstill)) // closed: Read says so
	return s.Conn.Read(b)
}

func (s steady) Write(b []byte) (int, error) {
	_ = s.SetDeadline(time.Now().Add(standstill))
	return s.Conn.Write(b)
}
