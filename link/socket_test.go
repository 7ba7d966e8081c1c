package link_test

import (
	"errors"
	"io/fs"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns/netnstest"
)

// What was asked about one link is not overwritten by the answer about the next, also
// not by those to other callers of the handle.
func TestAnswersAreTheCallers(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h := open(t, nil)
		ip(t, nil, "link", "add", "va", "address", "02:00:00:00:00:0a", "type", "veth", "peer", "name", "vb")
		ip(t, nil, "link", "set", "vb", "address", "02:00:00:00:00:0b")
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 50 {
					a, errA := h.ByName("va")
					b, errB := h.ByIndex(a.Peer)
					if err := errors.Join(errA, errB); err != nil || !strings.HasSuffix(a.MAC.String(), "0a") || !strings.HasSuffix(b.MAC.String(), "0b") {
						t.Errorf("%s has %s, %s has %s: %v", a.Name, a.MAC, b.Name, b.MAC, err)
						return
					}
				}
			})
		}
		wg.Wait()
		if _, err := h.ByName("none"); !errors.Is(err, fs.ErrNotExist) || err.Error() != "link none: is not there" {
			t.Errorf("no such link: %v", err)
		}
		if _, err := h.ByIndex(99); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("no such index: %v", err)
		}
	})
}

// TestErrors: what was asked for, why not in the kernel's words, and no file where none is
// meant.
func TestErrors(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h := open(t, nil)
		ip(t, nil, "link", "add", "va", "type", "veth", "peer", "name", "vb")
		va := must[link.Link](t)(h.ByName("va"))
		_, noRoute := h.DefaultRouteLink()
		const tooSmall = ", mtu 60: invalid argument: mtu less than device minimum"
		for _, test := range []struct {
			err     error
			want    string
			missing bool
		}{
			{h.AddVeth(link.Veth{Name: "a", PeerName: "b", MTU: 60}), "add veth a and b, mtu 60: invalid argument", false},
			{h.AddBridge(link.Bridge{Name: "br0", MTU: 60}), "add bridge br0" + tooSmall, false},
			{h.AddMacvlan(link.Macvlan{Base: link.Base{Name: "m", MTU: 60, Parent: va.Index}, Mode: "bridge"}), "add macvlan m" + tooSmall, false},
			{h.Set(va, link.Change{MTU: 60}), "set link va" + tooSmall, false},
			{h.Delete("none"), "delete link none: no such device", true},
			{h.DeleteAddr(va, netip.MustParsePrefix("10.1.0.5/24")), "delete address 10.1.0.5/24 of va: cannot assign requested address", true},
			{noRoute, "default route: is not there", true},
		} {
			if test.err == nil || test.err.Error() != test.want {
				t.Errorf("got %v, want %s", test.err, test.want)
			}
			if errors.Is(test.err, fs.ErrNotExist) != test.missing {
				t.Errorf("%v: matches fs.ErrNotExist: %t", test.err, !test.missing)
			}
		}
	})
}

// Addresses and routes are what ip shows of them.
func TestWhatIsSentArrives(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h := open(t, nil)
		ip(t, nil, "link", "add", "va", "type", "veth", "peer", "name", "vb")
		va, err := h.ByName("va")
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range []link.Addr{
			{Prefix: netip.MustParsePrefix("10.1.2.3/20")},
			{Prefix: netip.MustParsePrefix("10.9.0.1/31")},
			{Prefix: netip.MustParsePrefix("10.8.0.1/32"), NoPrefixRoute: true},
			{Prefix: netip.MustParsePrefix("fd00::1/64"), NoDAD: true},
		} {
			if err := h.AddAddr(va, a); err != nil {
				t.Error(err)
			}
			if err := h.AddAddr(va, a); !errors.Is(err, fs.ErrExist) {
				t.Errorf("again: %v", err)
			}
		}
		if err := h.Set(va, link.Change{Up: true}); err != nil {
			t.Error(err)
		}
		table := 5000
		route := link.Route{
			Route:  cni.Route{Dst: netip.MustParsePrefix("192.0.2.0/24"), GW: netip.MustParseAddr("10.1.0.1"), MTU: 1400, AdvMSS: 1300, Priority: 7, Table: &table},
			Source: netip.MustParseAddr("10.1.2.3"), OnLink: true,
		}
		if err := h.AddRoute(va, route); err != nil {
			t.Error(err)
		}
		shown := ip(t, nil, "addr", "show", "dev", "va") + ip(t, nil, "route", "show", "table", "5000")
		for _, want := range []string{
			"inet 10.1.2.3/20 brd 10.1.15.255 scope", "inet 10.9.0.1/31 scope", "inet 10.8.0.1/32 scope global noprefixroute",
			"inet6 fd00::1/64 scope global nodad", ",UP",
			"192.0.2.0/24 via 10.1.0.1 dev va src 10.1.2.3 metric 7 onlink linkdown mtu 1400 advmss 1300",
		} {
			if !strings.Contains(strings.Join(strings.Fields(shown), " "), want) {
				t.Errorf("no %q in\n%s", want, shown)
			}
		}
		if err := h.DeleteRoute(va, route); err != nil {
			t.Error(err)
		}
		if err := h.DeleteRoute(va, route); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("delete again: %v", err)
		}
	})
}
