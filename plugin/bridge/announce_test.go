package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/bridge"
	"github.com/seamnet/seam/plugin/plugintest"
	"golang.org/x/sys/unix"
)

// TestAddressesChangePods: a pod that gets an address of one that has just gone is reached
// as soon as ADD has returned, by the host and by other pods, who know the address by the
// MAC address of the one that went.
func TestAddressesChangePods(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		host := plugintest.Host(t)
		s := &succession{T: t, Plugin: bridge.New(host)}
		stays := netnstest.NewPod(t, "stays") // and keeps the bridge up
		s.neighbours = []*netns.Namespace{nil, stays.NS}
		if _, err := s.Add(t.Context(), s.request(stays, 2)); err != nil {
			t.Fatal(err)
		}
		for _, together := range []int{1, 16} {
			s.pods = nil
			for i := range together {
				s.pods = append(s.pods, netnstest.NewPod(t, fmt.Sprintf("%d-of-%d", i+1, together)))
			}
			for range 3 {
				s.generation()
			}
		}
	})
}

// succession is a line of pods that inherit addresses.
type succession struct {
	*testing.T
	cni.Plugin
	pods       []*netnstest.Pod
	neighbours []*netns.Namespace // who know the pods; nil: the host
}

func (s *succession) request(pod *netnstest.Pod, n int) *cni.Request {
	addresses := fmt.Sprintf(`"isGateway":true,"ipam":{"type":"static","addresses":[{"address":"%s/24"},{"address":"%s/64","gateway":"fd00:1::1"}]}`, v4(n), v6(n))
	return plugintest.Request(s, conf(addresses), pod, pod.Path, finder)
}

func v4(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, 0, byte(n)}) }
func v6(n int) netip.Addr {
	a := netip.MustParseAddr("fd00:1::").As16()
	a[15] = byte(n)
	return netip.AddrFrom16(a)
}

// generation attaches all pods, lets their neighbours reach them, and detaches them.
func (s *succession) generation() {
	s.Helper()
	const first = 10
	s.each(func(i int) error {
		_, err := s.Add(s.Context(), s.request(s.pods[i], first+i))
		return err
	})
	for i := range s.pods {
		for _, from := range s.neighbours {
			for _, a := range []netip.Addr{v4(first + i), v6(first + i)} {
				if err := greet(s.Context(), from, a); err != nil {
					s.Errorf("%s, one of %d: %v", a, len(s.pods), err)
				}
			}
		}
	}
	s.each(func(i int) error { return s.Del(s.Context(), s.request(s.pods[i], first+i)) })
}

// each calls do for all pods at once.
func (s *succession) each(do func(i int) error) {
	s.Helper()
	errs := make([]error, len(s.pods))
	var all sync.WaitGroup
	for i := range s.pods {
		all.Go(func() { errs[i] = do(i) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		s.Fatal(err)
	}
}

// greet asks for a connection that nobody there listens for: to be refused is to have
// been heard.
func greet(ctx context.Context, from *netns.Namespace, to netip.Addr) error {
	dial := func() error {
		d := net.Dialer{Timeout: 900 * time.Millisecond} // TCP asks again after a second
		c, err := d.DialContext(ctx, "tcp", netip.AddrPortFrom(to, 7).String())
		if err == nil {
			c.Close()
		}
		if errors.Is(err, unix.ECONNREFUSED) {
			return nil
		}
		return err
	}
	if from == nil {
		return dial()
	}
	return from.Do(dial)
}
