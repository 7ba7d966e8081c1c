package link_test

import (
	"errors"
	"io/fs"
	"net/netip"
	"strings"
	"testing"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns/netnstest"
)

// TestDefaultRouteLink: the main table's default route, however the way to a particular
// address leads: over a lower metric, IPv4 first, listed where rules or other routes
// hide it from the kernel's answer.
func TestDefaultRouteLink(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h := open(t, nil)
		links := map[string]link.Link{}
		for i, name := range []string{"a", "b", "c"} {
			if err := h.AddVeth(link.Veth{Name: name, PeerName: name + "-peer"}); err != nil {
				t.Fatal(err)
			}
			netnstest.Up(t, nil, name)
			netnstest.Up(t, nil, name+"-peer")
			l := must[link.Link](t)(h.ByName(name))
			links[name] = l
			subnet := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 1}), 24)
			if err := h.AddAddr(l, link.Addr{Prefix: subnet}); err != nil {
				t.Fatal(err)
			}
		}
		want := func(name string) {
			t.Helper()
			if l, err := h.DefaultRouteLink(); err != nil || l.Name != name {
				t.Errorf("%s, %v, want %s", l.Name, err, name)
			}
		}
		route := func(over, dst string, metric int) {
			t.Helper()
			if err := h.AddRoute(links[over], link.Route{Route: cni.Route{Dst: netip.MustParsePrefix(dst), Priority: metric}}); err != nil {
				t.Fatal(err)
			}
		}
		if l, err := h.DefaultRouteLink(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("without: %+v, %v, want fs.ErrNotExist", l, err)
		}
		route("c", "::/0", 0)
		want("c")
		route("a", "0.0.0.0/0", 20)
		want("a")
		route("b", "0.0.0.0/0", 10)
		want("b")
		route("c", "0.0.0.0/1", 0)
		route("c", "128.0.0.0/1", 0)
		want("b")
		ip(t, nil, "route", "add", "default", "dev", "a", "table", "77")
		ip(t, nil, "rule", "add", "lookup", "77", "pref", "5")
		want("b")
		ip(t, nil, "rule", "add", "blackhole", "pref", "4")
		want("b")
	})
}

// TestAside: the name of a link that is made in another namespace may be taken where the
// making starts; what has it there is left alone, and so is what has it inside.
func TestAside(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		pod := netnstest.NewPod(t, "pod1")
		h, inside := open(t, nil), open(t, pod)
		if err := h.AddVeth(link.Veth{Name: "eth0", PeerName: "eth1"}); err != nil {
			t.Fatal(err)
		}
		before := must[[]link.Link](t)(h.List())
		m := link.Macvlan{Base: link.Base{Name: "eth0", Parent: must[link.Link](t)(h.ByName("eth1")).Index, NS: pod.NS, MTU: 1400}, Mode: link.MacvlanPrivate}
		for _, there := range []bool{false, true} {
			if err := h.AddMacvlan(m); errors.Is(err, fs.ErrExist) != there || err != nil && !there {
				t.Errorf("with eth0 inside %t: %v", there, err)
			}
			l := must[link.Link](t)(inside.ByName("eth0"))
			if got := must[link.Macvlan](t)(inside.Macvlan(l)); got.Mode != link.MacvlanPrivate || l.MTU != 1400 {
				t.Errorf("%+v: %+v", l, got)
			}
		}
		if all := must[[]link.Link](t)(inside.List()); len(all) != 2 {
			t.Errorf("links inside, want lo and eth0: %+v", all)
		}
		if after := must[[]link.Link](t)(h.List()); len(after) != len(before) {
			t.Errorf("links outside: %+v, want %+v", after, before)
		}
		if name := link.Aside("a-name-of-15-b."); len(name) > 15 || !strings.HasPrefix(name, "seam") || name == link.Aside("eth0") {
			t.Errorf("name meanwhile: %q", name)
		}
	})
}
