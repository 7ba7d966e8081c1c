package bandwidth_test

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/plugintest"
)

const (
	rate  = 1e6 // bytes a second, what limits say
	burst = 50e3

	// A byte of payload in twenty is header, and rates are not exact in a short time.
	least, most = 0.8 * rate, 1.15 * rate
	unlimited   = 5 * rate
)

// measure returns how many bytes a second arrive after the burst: sent by the pod to
// addr, or by addr to the pod.
func measure(t *testing.T, pod *netnstest.Pod, addr string, fromPod bool) float64 {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
	must(t, err)
	defer l.Close()
	var inside net.Conn
	must(t, pod.NS.Do(func() (err error) {
		inside, err = net.DialTimeout("tcp", l.Addr().String(), 5*time.Second)
		return err
	}))
	outside, err := l.Accept()
	must(t, err)
	from, to := outside, inside
	if fromPod {
		from, to = inside, outside
	}
	var sender sync.WaitGroup
	sender.Go(func() {
		chunk := make([]byte, 32<<10)
		for err := error(nil); err == nil; {
			_, err = from.Write(chunk)
		}
	})
	defer sender.Wait()
	defer inside.Close()
	defer outside.Close()
	// A window that fits into the bucket: what is lost and sent again is TCP's affair.
	must(t, to.(*net.TCPConn).SetReadBuffer(32<<10))
	must(t, to.SetReadDeadline(time.Now().Add(10*time.Second)))
	_, err = io.CopyN(io.Discard, to, 5*burst)
	must(t, err)
	const sample = 0.3 * rate
	begin := time.Now()
	_, err = io.CopyN(io.Discard, to, sample)
	must(t, err)
	return sample / time.Since(begin).Seconds()
}

// TestRates: real connections get what was asked for, both ways and of both families;
// those that are not to be shaped get much more.
func TestRates(t *testing.T) {
	const near4, near6, far4, far6 = "10.1.0.1", "fd00:1::1", "192.0.2.1", "2001:db8::1"
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		for _, address := range []string{far4 + "/32", far6 + "/128"} {
			plugintest.Run(t, nil, "ip", "addr", "add", address, "dev", "lo")
		}
		for _, tt := range []struct {
			name, keys       string
			shaped, unshaped []string
		}{
			{"all", limits, []string{near4, far6}, nil},
			{"unshaped", limits + `,"unshapedSubnets":["10.1.0.0/16","fd00:1::/64"]`, []string{far4, far6}, []string{near4, near6}},
			{"shaped", limits + `,"shapedSubnets":["192.0.2.1/32","2001:db8::/33"]`, []string{far4, far6}, []string{near4, near6}},
		} {
			r := w.Request(conf(tt.keys))
			_, err := w.Add(ctx, r)
			must(t, err)
			must(t, w.Check(ctx, r))
			for i, addr := range append(tt.shaped, tt.unshaped...) {
				for _, fromPod := range []bool{false, true} {
					shaped := i < len(tt.shaped)
					if shaped && tt.unshaped != nil && fromPod == (i == 0) {
						continue // a second saved: the other family shows it
					}
					got := measure(t, w.Pod, addr, fromPod)
					if shaped && (got < least || got > most) || !shaped && got < unlimited {
						t.Errorf("%s: %s, from the pod %t: %.0f bytes a second", tt.name, addr, fromPod, got)
					}
				}
			}
			must(t, w.Del(ctx, r))
		}
		for _, fromPod := range []bool{false, true} {
			if got := measure(t, w.Pod, near4, fromPod); got < unlimited {
				t.Errorf("after DEL, from the pod %t: %.0f bytes a second", fromPod, got)
			}
		}
	})
}
