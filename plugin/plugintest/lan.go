package plugintest

import (
	"net"
	"testing"
	"time"

	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns/netnstest"
)

// Links opens the pod's links, the host's if it is nil, until the test ends.
func Links(t testing.TB, pod *netnstest.Pod) *link.Handle {
	t.Helper()
	h, err := link.Open()
	if pod != nil {
		h.Close()
		h, err = link.In(pod.NS)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// Need skips the test if the kernel has no links of the kind.
func Need(t testing.TB, kind string) {
	t.Helper()
	if ok, err := Links(t, nil).Supports(kind); err != nil || !ok {
		t.Skipf("this kernel has no %s links: make test-kernels runs this under one that has", kind)
	}
}

// LAN makes the link name in the pod, the host if it is nil, up, with a cable to another
// host, whose end is called eth0.
func LAN(t testing.TB, pod *netnstest.Pod, name string) (outside *netnstest.Pod) {
	t.Helper()
	outside = netnstest.NewPod(t, "outside-"+name)
	h := Links(t, pod)
	if err := h.AddVeth(link.Veth{Name: name, PeerName: "eth0", PeerNS: outside.NS}); err != nil {
		t.Fatal(err)
	}
	if err := h.Set(link.Link{Name: name}, link.Change{Up: true}); err != nil {
		t.Fatal(err)
	}
	netnstest.Up(t, outside.NS, "eth0")
	return outside
}

// Reach fails the test unless a connection from one to the address of the other comes to
// pass and carries something.
func Reach(t testing.TB, from, to *netnstest.Pod, address string) {
	t.Helper()
	const patience = 5 * time.Second
	err := to.NS.Do(func() error {
		l, err := net.Listen("tcp", net.JoinHostPort(address, "7"))
		if err != nil {
			return err
		}
		go func() {
			defer l.Close()
			if c, err := l.Accept(); err == nil {
				c.Write([]byte("hello"))
				c.Close()
			}
		}()
		return nil
	})
	if err == nil {
		err = from.NS.Do(func() error {
			c, err := net.DialTimeout("tcp", net.JoinHostPort(address, "7"), patience)
			if err != nil {
				return err
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(patience))
			_, err = c.Read(make([]byte, 5))
			return err
		})
	}
	if err != nil {
		t.Errorf("%s: %v", address, err)
	}
}
