package docker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/netns/netnstest"
)

// A site is a host with generated networks, whose containers listen on port 80 of all
// addresses, and a machine outside.
type site struct {
	*testing.T
	runtime *seam.Runtime
	pods    map[string]*netnstest.Pod // by name; nil: the host
	addrs   map[string]string
}

const (
	outsideAddress = "192.0.2.2"
	hostAddress    = "192.0.2.1"
)

func newSite(t *testing.T) *site {
	s := &site{T: t,
		runtime: &seam.Runtime{Plugins: wire.Path{Dirs: []string{os.Getenv(programsKey)}}},
		pods:    map[string]*netnstest.Pod{"host": nil, "outside": netnstest.NewPod(t, "outside")},
		addrs:   map[string]string{"host": hostAddress, "outside": outsideAddress},
	}
	for _, link := range []string{
		"link add up0 type veth peer name eth0 netns outside", "addr add " + hostAddress + "/24 dev up0", "link set up0 up",
		"-netns outside addr add " + outsideAddress + "/24 dev eth0", "-netns outside link set eth0 up",
	} {
		run(t, "ip", strings.Fields(link)...)
	}
	s.listens("host")
	s.listens("outside")
	return s
}

// network generates a network and gives each container the next address of its subnets.
func (s *site) network(n cnm.Network, options map[string]string, containers ...string) {
	s.Helper()
	o, err := parseOptions(options)
	must(s.T, err)
	raw, err := generate(&n, o)
	must(s.T, err)
	var last []netip.Prefix
	for _, pool := range n.Pools {
		last = append(last, pool.Gateway)
	}
	for _, name := range containers {
		for i, p := range last {
			last[i] = netip.PrefixFrom(p.Addr().Next(), p.Bits())
		}
		chain, err := pinAddresses(parsed(s.T, string(raw)), last, n.Pools)
		must(s.T, err)
		s.pods[name], s.addrs[name] = netnstest.NewPod(s.T, name), last[0].Addr().String()
		c := seam.Container{ID: name, IfName: "eth0", NetNS: s.pods[name].Path}
		_, err = s.runtime.Attach(context.Background(), chain, c)
		must(s.T, err)
		must(s.T, s.runtime.Check(context.Background(), chain, c))
		s.Cleanup(func() { must(s.T, s.runtime.Detach(context.Background(), chain, c)) })
		s.listens(name)
	}
}

// in runs f in the namespace of that name.
func (s *site) in(name string, f func() error) error {
	if s.pods[name] == nil {
		return f()
	}
	return s.pods[name].NS.Do(f)
}

func (s *site) listens(name string) {
	s.Helper()
	must(s.T, s.in(name, func() error {
		l, err := net.Listen("tcp4", ":80")
		if err != nil {
			return err
		}
		done := make(chan error)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					done <- err
					return
				}
				from, _, _ := net.SplitHostPort(c.RemoteAddr().String())
				fmt.Fprintf(c, "%s asked by %s", name, from)
				c.Close()
			}
		}()
		s.Cleanup(func() {
			l.Close()
			if err := <-done; !errors.Is(err, net.ErrClosed) {
				s.Error(err)
			}
		})
		return nil
	}))
}

// asks returns who answers at the address, and whom it takes the asker for; empty: nobody.
func (s *site) asks(from, address string) string {
	var text [64]byte
	var n int
	_ = s.in(from, func() error {
		c, err := net.DialTimeout("tcp4", address, 400*time.Millisecond)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		n, err = c.Read(text[:])
		return err
	})
	return string(text[:n])
}

// reach returns who gets to whom, a line each.
func (s *site) reach(names []string) string {
	lines := make([]string, len(names))
	var all sync.WaitGroup
	for i, a := range names {
		all.Go(func() {
			lines[i] = a + ":"
			for _, b := range names {
				if a != b && strings.HasPrefix(s.asks(a, s.addrs[b]+":80"), b+" ") {
					lines[i] += " " + b
				}
			}
		})
	}
	all.Wait()
	return strings.Join(lines, "\n")
}

// TestGeneratedNetworks: what the networks promise, as Docker's bridge driver does.
func TestGeneratedNetworks(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		s := newSite(t)
		id := func(digit string) cnm.NetworkID { return cnm.NetworkID(strings.Repeat(digit, 64)) }
		s.network(cnm.Network{ID: id("a"), Pools: pools("172.18.0.0/16 172.18.0.1", "fd00:18::/64 fd00:18::1"), IPv6: true}, nil, "a1", "a2")
		s.network(cnm.Network{ID: id("b"), Pools: pools("172.19.0.0/16 172.19.0.1")}, map[string]string{"com.docker.network.bridge.enable_icc": "false"}, "b1", "b2")
		s.network(cnm.Network{ID: id("c"), Pools: pools("172.20.0.0/16 172.20.0.1"), Internal: true}, nil, "c1", "c2")
		s.network(cnm.Network{ID: id("d"), Pools: pools("172.21.0.0/16 172.21.0.1")}, map[string]string{"seam.isolate": "false"}, "d1")
		s.network(cnm.Network{ID: id("e"), Pools: pools("172.22.0.0/16 172.22.0.1")}, map[string]string{"seam.type": "ptp"}, "e1", "e2")
		all := []string{"host", "outside", "a1", "a2", "b1", "b2", "c1", "c2", "d1", "e1", "e2"}
		want := strings.Join([]string{
			"host: outside a1 a2 b1 b2 d1 e1 e2",
			"outside: host",
			"a1: host outside a2 d1 e1 e2",
			"a2: host outside a1 d1 e1 e2",
			"b1: host outside d1 e1 e2", // nobody beside it
			"b2: host outside d1 e1 e2",
			"c1: c2", // internal
			"c2: c1",
			"d1: host outside a1 a2 b1 b2 e1 e2", // not isolated
			"e1: host outside a1 a2 b1 b2 d1 e2",
			"e2: host outside a1 a2 b1 b2 d1 e1",
		}, "\n")
		if diff := cmp.Diff(want, s.reach(all)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if got := ip(t, s.pods["a2"], "-6 route show default") + ip(t, s.pods["a2"], "-o -6 addr show dev eth0"); !strings.Contains(got, "default via fd00:18::1 ") || !strings.Contains(got, "fd00:18::3/64") {
			t.Errorf("a2: %s", got)
		}
		for _, from := range []string{"a1", "b1", "e1"} {
			if got, want := s.asks(from, outsideAddress+":80"), "outside asked by "+hostAddress; got != want {
				t.Errorf("%s: %q, want %q", from, got, want)
			}
		}
	})
}
