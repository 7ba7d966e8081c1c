package link_test

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns/netnstest"
)

// What one end of a veth has sent, the other has received; and both ways of asking say
// the same.
func TestCounters(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		pod := netnstest.NewPod(t, "pod1")
		host, inside := open(t, nil), open(t, pod)
		if err := host.AddVeth(link.Veth{Name: "veth1", PeerName: "eth0", PeerNS: pod.NS}); err != nil {
			t.Fatal(err)
		}
		ip(t, nil, "link", "set", "veth1", "up", "addrgenmode", "none")
		ip(t, pod, "link", "set", "eth0", "up", "addrgenmode", "none")
		outer, inner := must[link.Link](t)(host.ByName("veth1")), must[link.Link](t)(inside.ByName("eth0"))
		if err := host.AddAddr(outer, link.Addr{Prefix: netip.MustParsePrefix("10.0.0.1/24")}); err != nil {
			t.Fatal(err)
		}
		if err := inside.AddAddr(inner, link.Addr{Prefix: netip.MustParsePrefix("10.0.0.2/24")}); err != nil {
			t.Fatal(err)
		}
		before := must[link.Counters](t)(inside.Counters(inner))
		send(t, "10.0.0.2:9", 5, 1000)
		got := must[link.Counters](t)(inside.Counters(inner))
		const frames, bytes = 5, 5 * (1000 + 8 + 20 + 14) // UDP, IP and Ethernet headers
		if p, b := got.RxPackets-before.RxPackets, got.RxBytes-before.RxBytes; p < frames || p > frames+2 || b < bytes || b > bytes+200 {
			t.Errorf("received %d packets, %d bytes, want %d and %d, and some ARP", p, b, frames, bytes)
		}
		if got.TxBytes >= bytes {
			t.Errorf("the pod has sent %d bytes, and was only sent to", got.TxBytes)
		}
		outside := must[link.Counters](t)(host.Counters(outer))
		if outside.Reversed() != got {
			t.Errorf("the host end has %+v, the pod's %+v", outside, got)
		}
		all := must[[]link.Counted](t)(host.ListCounted())
		i := slices.IndexFunc(all, func(l link.Counted) bool { return l.Name == "veth1" })
		if i < 0 || all[i].Counters != outside {
			t.Errorf("veth1 in the list: %+v, want %+v", all, outside)
		}
		if _, err := host.Counters(link.Link{Index: 99, Name: "none"}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("counters of no link: %v, want fs.ErrNotExist", err)
		}
	})
}

// send sends datagrams from the host to where nobody listens.
func send(t *testing.T, to string, count, size int) {
	t.Helper()
	c, err := net.Dial("udp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range count {
		for range 2 { // the first may be told that the last was refused, and is not sent then
			if _, err := c.Write(make([]byte, size)); err == nil {
				break
			}
		}
	}
}
