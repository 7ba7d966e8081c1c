package plugins

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/netns/netnstest"
)

// place is this host, as probes know it.
func place(t *testing.T) *pod {
	t.Helper()
	ns, err := netns.Current()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return &pod{Name: "here", ns: ns}
}

// TestProbe: a server tells whom it sees, and what is sent arrives as it was.
func TestProbe(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		here := place(t)
		for _, to := range []netip.AddrPort{netip.MustParseAddrPort("127.0.0.2:7007"), netip.MustParseAddrPort("[::1]:7007")} {
			l, err := net.Listen("tcp", to.String())
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			conn, err := net.ListenPacket("udp", to.String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			go serveTCP(l, "server")
			go serveUDP(conn, "server")
			for _, protocol := range protocols() {
				p := probe{From: here, Protocol: protocol, To: to, Source: to.Addr()}
				if got, err := p.ask(t.Context()); err != nil || got != (witness{"server", to.Addr()}) {
					t.Errorf("%v: %v, %v", p, got, err)
				}
			}
			p := probe{From: here, Protocol: "udp", To: to, Size: 9000}
			if got, err := p.ask(t.Context()); err != nil || got.Name != "server" {
				t.Errorf("%v of %d bytes: %v, %v", p, p.Size, got, err)
			}
			p = probe{From: here, Protocol: "tcp", To: to}
			if _, err := p.send(t.Context(), 3<<20); err != nil {
				t.Errorf("%v: send: %v", p, err)
			}
			if _, err := p.fetch(t.Context(), 3<<20); err != nil {
				t.Errorf("%v: fetch: %v", p, err)
			}
		}
	})
}

// TestProbeFindsFaults: what is no server, loses bytes or changes them is no answer.
func TestProbeFindsFaults(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		answer := func(text string) netip.AddrPort {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			go func() {
				for c, err := l.Accept(); err == nil; c, err = l.Accept() {
					go func() {
						defer c.Close()
						go func() { _, _ = io.Copy(io.Discard, c) }()
						_, _ = io.WriteString(c, text)
						time.Sleep(50 * time.Millisecond) // it reads, or the rest would be reset
					}()
				}
			}()
			return netip.MustParseAddrPort(l.Addr().String())
		}
		here := place(t)
		to := func(text string) probe { return probe{From: here, Protocol: "tcp", To: answer(text)} }
		_, other := to("a web server").ask(t.Context())
		_, short := to("xx").fetch(t.Context(), 3)
		_, changed := to("xxx").fetch(t.Context(), 3)
		_, sum := to("00000000").send(t.Context(), 3)
		for _, tt := range []struct {
			err  error
			want string
		}{{other, "is not of a probe's server"}, {short, "2 of 3 bytes arrived"}, {changed, "the sum of 3 bytes"}, {sum, "the sum of 3 bytes is 00000000"}} {
			if tt.err == nil || !strings.Contains(tt.err.Error(), tt.want) {
				t.Errorf("%v; want %q", tt.err, tt.want)
			}
		}
	})
}
