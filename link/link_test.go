package link_test

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns/netnstest"
	"golang.org/x/sys/unix"
)

// ip prints what ip(8) says, inside the pod if one is given.
func ip(t *testing.T, pod *netnstest.Pod, args ...string) string {
	t.Helper()
	var out []byte
	run := func() (err error) {
		out, err = exec.Command("ip", args...).CombinedOutput()
		return err
	}
	var err error
	if pod == nil {
		err = run()
	} else {
		err = pod.NS.Do(run)
	}
	if err != nil {
		t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func open(t *testing.T, pod *netnstest.Pod) *link.Handle {
	t.Helper()
	var h *link.Handle
	var err error
	if pod == nil {
		h, err = link.Open()
	} else {
		h, err = link.In(pod.NS)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestVeth(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		pod := netnstest.NewPod(t, "pod1")
		host, inside := open(t, nil), open(t, pod)
		v := link.Veth{Name: "veth1", MTU: 1400, PeerName: "eth0", PeerMAC: []byte{2, 0, 0, 0, 0, 7}, PeerNS: pod.NS}
		if err := host.AddVeth(v); err != nil {
			t.Fatal(err)
		}
		for _, taken := range []link.Veth{v, {Name: "veth2", PeerName: "eth0", PeerNS: pod.NS}} {
			if err := host.AddVeth(taken); !errors.Is(err, fs.ErrExist) {
				t.Errorf("add %s again: %v, want fs.ErrExist", taken.Name, err)
			}
		}
		l := must[link.Link](t)(host.ByName("veth1"))
		peer := must[link.Link](t)(inside.ByName("eth0"))
		if l.Kind != "veth" || l.MTU != 1400 || l.Up || l.Peer != peer.Index || peer.Peer != l.Index || peer.MAC.String() != "02:00:00:00:00:07" {
			t.Errorf("host %+v, peer %+v", l, peer)
		}
		if err := host.Set(l, link.Change{Alias: "seam:net/c1/eth0", Up: true}); err != nil {
			t.Fatal(err)
		}
		if err := inside.Set(peer, link.Change{Up: true, MTU: 1300}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		l = must[link.Link](t)(host.WaitRunning(ctx, "veth1"))
		tagged := must[[]link.Link](t)(host.Tagged("seam:net/"))
		if diff := cmp.Diff([]link.Link{l}, tagged); diff != "" {
			t.Errorf("tagged (-want +got):\n%s", diff)
		}
		if other := must[[]link.Link](t)(host.Tagged("seam:ne/")); len(other) != 0 {
			t.Errorf("tagged for another network: %+v", other)
		}
		if err := host.Delete("veth1"); err != nil {
			t.Fatal(err)
		}
		if err := host.Delete("veth1"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("delete twice: %v, want fs.ErrNotExist", err)
		}
		if _, err := inside.ByName("eth0"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the peer is left: %v", err)
		}
	})
}

func TestBridgePort(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h := open(t, nil)
		if err := h.AddBridge(link.Bridge{Name: "br0", MTU: 1400}); err != nil {
			t.Fatal(err)
		}
		if err := h.AddBridge(link.Bridge{Name: "br0"}); !errors.Is(err, fs.ErrExist) {
			t.Errorf("add again: %v, want fs.ErrExist", err)
		}
		if err := h.AddVeth(link.Veth{Name: "a", PeerName: "b"}); err != nil {
			t.Fatal(err)
		}
		br, port := must[link.Link](t)(h.ByName("br0")), must[link.Link](t)(h.ByName("a"))
		if err := errors.Join(h.Set(port, link.Change{Master: br.Index, Up: true}), h.SetHairpin(port), h.SetPromisc(br, true)); err != nil {
			t.Fatal(err)
		}
		hairpin, isolated, err := h.Port(port)
		if err != nil || !hairpin || isolated {
			t.Errorf("hairpin %t, isolated %t, %v", hairpin, isolated, err)
		}
		if err := h.SetIsolated(port); err != nil {
			t.Fatal(err)
		}
		if _, isolated, _ = h.Port(port); !isolated {
			t.Error("is not isolated")
		}
		br, port = must[link.Link](t)(h.ByName("br0")), must[link.Link](t)(h.ByName("a"))
		if br.Kind != "bridge" || !br.Promisc || port.Master != br.Index {
			t.Errorf("bridge %+v, port %+v", br, port)
		}
	})
}

// TestVLANs: a bridge that was made without VLAN filtering gets it, and its ports VLANs.
func TestVLANs(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h := open(t, nil)
		if err := errors.Join(h.AddBridge(link.Bridge{Name: "br0"}), h.AddVeth(link.Veth{Name: "a", PeerName: "b"})); err != nil {
			t.Fatal(err)
		}
		br, port := must[link.Link](t)(h.ByName("br0")), must[link.Link](t)(h.ByName("a"))
		if on, err := h.VLANFiltering("br0"); err != nil || on {
			t.Fatalf("a new bridge filters: %t, %v", on, err)
		}
		err := h.SetVLANFiltering(br)
		if errors.Is(err, unix.EOPNOTSUPP) {
			t.Skipf("this kernel's bridges have no VLAN filtering: %v", err)
		}
		if err != nil {
			t.Fatal(err)
		}
		if on, err := h.VLANFiltering("br0"); err != nil || !on {
			t.Errorf("filters: %t, %v", on, err)
		}
		trunk := []link.VLANs{{First: 5, Last: 5, Native: true}, {First: 20, Last: 21}}
		if err := errors.Join(h.Set(port, link.Change{Master: br.Index, Up: true}), h.DeleteVLAN(port, 1),
			h.AddVLANs(port, trunk[0], false), h.AddVLANs(port, trunk[1], false), h.AddVLANs(br, trunk[1], true)); err != nil {
			t.Fatal(err)
		}
		want := []link.VLANs{{First: 5, Last: 5, Native: true}, {First: 20, Last: 20}, {First: 21, Last: 21}}
		if diff := cmp.Diff(want, must[[]link.VLANs](t)(h.PortVLANs(port))); diff != "" {
			t.Errorf("vlans of the port (-want +got):\n%s", diff)
		}
	})
}

func TestAddrsAndRoutes(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		pod := netnstest.NewPod(t, "pod1")
		host, h := open(t, nil), open(t, pod)
		if err := host.AddVeth(link.Veth{Name: "veth1", PeerName: "eth0", PeerNS: pod.NS}); err != nil {
			t.Fatal(err)
		}
		eth0 := must[link.Link](t)(h.ByName("eth0"))
		for _, a := range []link.Addr{
			{Prefix: netip.MustParsePrefix("10.1.0.5/24")},
			{Prefix: netip.MustParsePrefix("10.2.0.5/24"), NoPrefixRoute: true},
			{Prefix: netip.MustParsePrefix("fd00::5/64"), NoDAD: true},
		} {
			if err := h.AddAddr(eth0, a); err != nil {
				t.Fatal(err)
			}
			if err := h.AddAddr(eth0, a); !errors.Is(err, fs.ErrExist) {
				t.Errorf("add %s again: %v, want fs.ErrExist", a.Prefix, err)
			}
		}
		ip(t, nil, "link", "set", "veth1", "up")
		if err := h.Set(eth0, link.Change{Up: true}); err != nil {
			t.Fatal(err)
		}
		seven, linkScope := 7, 253
		for _, r := range []cni.Route{
			{Dst: netip.MustParsePrefix("0.0.0.0/0"), GW: netip.MustParseAddr("10.1.0.1"), MTU: 1300, AdvMSS: 1200, Priority: 50},
			{Dst: netip.MustParsePrefix("192.0.2.0/24"), Table: &seven, Scope: &linkScope},
			{Dst: netip.MustParsePrefix("::/0"), GW: netip.MustParseAddr("fd00::1")},
			{Dst: netip.MustParsePrefix("10.5.0.1/16"), GW: netip.MustParseAddr("10.1.0.1")}, // as people write it
		} {
			if err := h.AddRoute(eth0, link.Route{Route: r}); err != nil {
				t.Fatal(err)
			}
			if err := h.AddRoute(eth0, link.Route{Route: r}); !errors.Is(err, fs.ErrExist) {
				t.Errorf("add %s again: %v, want fs.ErrExist", r.Dst, err)
			}
		}
		got := ip(t, pod, "route", "show", "table", "all", "scope", "all", "type", "unicast") + ip(t, pod, "-6", "route", "show", "default")
		want := "192.0.2.0/24 dev eth0 table 7 scope link \n" +
			"default via 10.1.0.1 dev eth0 metric 50 mtu 1300 advmss 1200 \n" +
			"10.1.0.0/24 dev eth0 proto kernel scope link src 10.1.0.5 \n" +
			"10.5.0.0/16 via 10.1.0.1 dev eth0 \n"
		if v4, _, _ := strings.Cut(got, "fd00::"); !strings.HasPrefix(v4, want) {
			t.Errorf("routes (-want +got):\n%s", cmp.Diff(want, got))
		}
		var dsts []string
		for _, r := range must[[]link.Route](t)(h.Routes(eth0)) {
			dsts = append(dsts, r.String())
		}
		for _, want := range []string{"0.0.0.0/0 via 10.1.0.1", "192.0.2.0/24", "10.1.0.0/24 src 10.1.0.5", "::/0 via fd00::1", "10.5.0.0/16 via 10.1.0.1"} {
			if !strings.Contains(strings.Join(dsts, "\n"), want) {
				t.Errorf("want route %q in %q", want, dsts)
			}
		}
		if l := must[link.Link](t)(h.LinkTo(netip.MustParseAddr("198.51.100.9"))); l.Name != "eth0" {
			t.Errorf("link to the outside: %+v", l)
		}
		if err := h.DeleteAddr(eth0, netip.MustParsePrefix("10.9.9.9/24")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("delete a missing address: %v, want fs.ErrNotExist", err)
		}
	})
}

// TestDuplicate: two ends of one link with the same address, the second of which is
// told so.
func TestDuplicate(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		pod := netnstest.NewPod(t, "pod1")
		host, h := open(t, nil), open(t, pod)
		if err := host.AddVeth(link.Veth{Name: "veth1", PeerName: "eth0", PeerNS: pod.NS}); err != nil {
			t.Fatal(err)
		}
		veth, eth0 := must[link.Link](t)(host.ByName("veth1")), must[link.Link](t)(h.ByName("eth0"))
		address := link.Addr{Prefix: netip.MustParsePrefix("fd00::5/64"), NoDAD: true}
		if err := errors.Join(host.AddAddr(veth, address), host.Set(veth, link.Change{Up: true})); err != nil {
			t.Fatal(err)
		}
		address.NoDAD = false
		if err := errors.Join(h.AddAddr(eth0, address), h.Set(eth0, link.Change{Up: true})); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := h.WaitAddrs(ctx, eth0); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "another host has it") {
			t.Errorf("wait: %v, want fs.ErrExist", err)
		}
	})
}

func TestSysctl(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		s := link.Sysctl("ipv4/conf/lo/arp_notify")
		for _, want := range []string{"1", "1", "0"} {
			if err := s.Set(want); err != nil {
				t.Fatal(err)
			}
			if got := must[string](t)(s.Get()); got != want {
				t.Errorf("%s = %s, want %s", s, got, want)
			}
		}
		if err := link.Sysctl("ipv4/conf/none/arp_notify").Write("1"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("set what is not there: %v, want fs.ErrNotExist", err)
		}
	})
}
