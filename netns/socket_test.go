package netns_test

import (
	"net"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/netns/netnstest"
)

// TestSockets: those that take what comes, of both protocols and families, and no others.
func TestSockets(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		pod := netnstest.NewPod(t, "web")
		err := pod.NS.Do(func() error {
			for _, addr := range []string{"127.0.0.1:80", "[::1]:8080", "[::]:81"} {
				l, err := net.Listen("tcp", addr)
				if err != nil {
					return err
				}
				t.Cleanup(func() { l.Close() })
			}
			c, err := net.Dial("tcp", "127.0.0.1:80") // two that do not listen
			if err != nil {
				return err
			}
			t.Cleanup(func() { c.Close() })
			u, err := net.ListenPacket("udp", "127.0.0.1:53")
			if err != nil {
				return err
			}
			t.Cleanup(func() { u.Close() })
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		sockets, err := pod.NS.Sockets()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range sockets {
			got = append(got, s.Protocol+" "+s.Addr.String())
			if s.Inode == "" || s.Inode == "0" {
				t.Errorf("%+v: want the socket's inode", s)
			}
		}
		slices.Sort(got)
		want := []string{"tcp 127.0.0.1:80", "tcp [::1]:8080", "tcp [::]:81", "udp 127.0.0.1:53"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
