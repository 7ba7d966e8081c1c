package macvlan_test

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/plugin/plugintest"
)

// TestMaster: by name or by the default route, on the host or in the pod.
func TestMaster(t *testing.T) {
	on(t, func(f *plugintest.Fixture) {
		unnamed := strings.Replace(conf, `,"master":"eth1"`, "", 1)
		inPod := func(s string) string { return strings.Replace(s, `"type"`, `"linkInContainer":true,"type"`, 1) }
		wantNone := func(where, conf string, words ...string) {
			f.Helper()
			f.Refuses(where, f.Request(conf), cni.CodeInvalidConfig, words...)
		}
		wantNone("no default route", unnamed, "master: is not named", "the host has no default route")
		wantNone("no default route in the pod", inPod(unnamed), "pod /run/netns/pod1 has no default route")
		wantNone("no such master", strings.Replace(conf, "eth1", "eth9", 1), "master eth9: is not in the host")
		wantNone("only the host's", inPod(conf), "master eth1: is not in pod")
		wantNone("a name that is none", strings.Replace(conf, "eth1", "a/b", 1), "master")
		wantNone("above the master's MTU", strings.Replace(conf, `"master"`, `"mtu":1501,"master"`, 1), "mtu 1501: the master eth1 has 1500")
		wantNone("negative MTU", strings.Replace(conf, `"master"`, `"mtu":-1,"master"`, 1), "mtu -1")

		want := func(parent link.Link, conf string) {
			f.Helper()
			r := f.Request(conf)
			if l := f.Attach(f, r); l.Parent != parent.Index {
				f.Errorf("%s: stands on %d, want %+v", conf, l.Parent, parent)
			}
			f.Passes(r)
			f.Detach(f, r)
		}
		host := f.Link(f.Host, "eth1")
		defaultRoute(f.T, f.Host, host)
		want(host, unnamed)
		plugintest.LAN(f, f.Pod, "eth3")
		inside := f.Link(f.Inside, "eth3")
		want(inside, inPod(strings.Replace(conf, "eth1", "eth3", 1)))
		defaultRoute(f.T, f.Inside, inside)
		want(inside, inPod(unnamed))
		want(host, unnamed)
	})
}

func defaultRoute(t *testing.T, h *link.Handle, l link.Link) {
	t.Helper()
	plugintest.Must(t, h.AddAddr(l, link.Addr{Prefix: netip.MustParsePrefix("10.9.0.2/24")}))
	r := link.Route{Route: cni.Route{Dst: netip.MustParsePrefix("0.0.0.0/0"), GW: netip.MustParseAddr("10.9.0.1")}}
	plugintest.Must(t, h.AddRoute(l, r))
}

// TestDel: it needs neither the master, nor the namespace, nor a valid configuration, nor
// an earlier result; and clears away what a killed ADD left under another name.
func TestDel(t *testing.T) {
	on(t, func(f *plugintest.Fixture) {
		for _, broken := range []string{
			conf,
			strings.Replace(conf, `,"master":"eth1"`, "", 1), // and no default route
			strings.Replace(conf, "eth1", "eth9", 1),         // which is gone
			strings.Replace(conf, `"master"`, `"mode":"x","mtu":"big","ipam":{},"master"`, 1),
		} {
			f.Attach(f, f.Request(conf))
			f.DetachTwice(f.Request(broken))
		}
		before := must(f.Inside.List())
		r := f.Request(conf)
		f.Attach(f, r)
		// As if killed before the link had its name.
		plugintest.Must(f, f.Inside.Delete("eth0"))
		plugintest.Must(f, f.Inside.AddVeth(link.Veth{Name: link.Aside("eth0"), PeerName: "x"}))
		f.Detach(f, r)
		if diff := cmp.Diff(before, must(f.Inside.List())); diff != "" {
			f.Errorf("links of the pod (-before +after):\n%s", diff)
		}
	})
}

// TestCheck finds each thing that a person can break, and all at once.
func TestCheck(t *testing.T) {
	on(t, func(f *plugintest.Fixture) {
		v4 := strings.Replace(dual, "fd00:1::5/64", "10.1.0.6/24", 1)
		v4 = strings.Replace(strings.Replace(v4, "fd00:1::1", "10.1.0.1", 1), `,{"dst":"2001:db8:1::/48","gw":"fd00:1::7","mtu":1300}`, "", 1)
		r := f.Request(v4)
		l := f.Attach(f, r)
		host := f.Link(f.Host, "eth1")
		broken := func(h *link.Handle, l link.Link, c link.Change, words ...string) {
			f.Helper()
			plugintest.Must(f, h.Set(l, c))
			f.Finds(r, words...)
		}
		broken(f.Host, host, link.Change{Down: true}, "master eth1: is down")
		broken(f.Host, host, link.Change{Up: true, MTU: 1399}, "has MTU 1399, not 1400")
		broken(f.Host, host, link.Change{MTU: 1500}, "has MTU 1399, not 1400")
		r.Prev.Interfaces[0].MTU = 1399 // as a later plugin may say
		if err := f.Check(f.Context(), r); err != nil {
			f.Errorf("CHECK of an MTU that a later plugin set: %v", err)
		}
		broken(f.Inside, l, link.Change{Down: true, MTU: 1300, MAC: []byte{2, 0, 0, 0, 0, 9}},
			"eth0 is down", "has MTU 1300", "has MAC address 02:00:00:00:00:09", "route 192.0.2.0/24")
		plugintest.Must(f, f.Inside.DeleteAddr(l, netip.MustParsePrefix("10.1.0.5/24")))
		f.Finds(r, "address 10.1.0.5/24 of eth0 is gone")
		plugintest.Must(f, f.Inside.Delete("eth0"))
		f.Finds(r, "link eth0")

		other := plugintest.LAN(f, nil, "eth2")
		base := link.Base{Name: "eth0", Parent: f.Link(f.Host, "eth2").Index, NS: f.Pod.NS}
		plugintest.Must(f, f.Host.AddMacvlan(link.Macvlan{Base: base, Mode: "bridge"}))
		f.Finds(r, "does not stand on eth1", "bcqueuelen 1000, not 3000")
		plugintest.Must(f, f.Inside.Delete("eth0"))
		plugintest.Must(f, plugintest.Links(f, other).AddVeth(link.Veth{Name: "x", PeerName: "eth0", PeerNS: f.Pod.NS}))
		f.Finds(r, "eth0 is a veth, not a macvlan")
	})
}

// TestMasterDown: ADD takes it, as the reference plugin does; that nothing passes is what
// STATUS says before, and CHECK after.
func TestMasterDown(t *testing.T) {
	on(t, func(f *plugintest.Fixture) {
		const down = "master eth1: is down: ip link set eth1 up"
		host := f.Link(f.Host, "eth1")
		plugintest.Must(f, f.Host.Set(host, link.Change{Down: true}))
		r := f.Request(conf)
		plugintest.WantError(f, "STATUS", f.Status(f.Context(), r), cni.CodeNotAvailable, down)
		f.Attach(f, r)
		f.Finds(r, down)
		plugintest.Must(f, f.Host.Set(host, link.Change{Up: true}))
		f.Passes(r)
		if err := f.Status(f.Context(), r); err != nil {
			f.Error(err)
		}
		f.Detach(f, r)
	})
}

// TestStatus: without the master there is nothing to stand on.
func TestStatus(t *testing.T) {
	on(t, func(f *plugintest.Fixture) {
		if err := f.Status(f.Context(), f.Request(conf)); err != nil {
			f.Error(err)
		}
		plugintest.WantError(f, "STATUS", f.Status(f.Context(), f.Request(strings.Replace(conf, "eth1", "eth9", 1))), cni.CodeNotAvailable, "master eth9: is not in the host")
		plugintest.WantError(f, "STATUS", f.Status(f.Context(), f.Request(strings.Replace(conf, `,"master":"eth1"`, "", 1))), cni.CodeNotAvailable, "no default route")
		plugintest.WantError(f, "STATUS", f.Status(f.Context(), f.Request(strings.Replace(conf, `"master"`, `"mac":"zz","mode":"x","master"`, 1))), cni.CodeInvalidConfig, `MAC address "zz"`, `mode "x"`)
		if err := f.Status(f.Context(), f.Request(strings.Replace(conf, `"master":"eth1"`, `"linkInContainer":true`, 1))); err != nil {
			f.Errorf("STATUS where the master is in the pod: %v", err)
		}
		if err := f.GC(f.Context(), f.Request(conf)); err != nil {
			f.Errorf("GC: %v", err)
		}
	})
}

// TestLikeReference: the same result and the same state inside, and each takes the other's
// attachments over.
func TestLikeReference(t *testing.T) {
	on(t, func(f *plugintest.Fixture) {
		defaultRoute(f.T, f.Host, f.Link(f.Host, "eth1"))
		for _, keys := range []string{
			`"mode":"vepa","mtu":1400,"bcqueuelen":2000,"mac":"02:00:00:00:00:07"`, `"mode":"passthru","x":"ipam"`,
		} {
			conf := strings.Replace(dual, `"master":"eth1","mtu":1400,"bcqueuelen":3000,"dns":{}`, keys, 1)
			conf = strings.Replace(conf, `"dns":{"nameservers":["10.1.0.53"]}`, `"x":1`, 1)
			conf = strings.Replace(conf, `,"mtu":1300`, ``, 1) // the reference passes it over
			if strings.Contains(keys, "ipam") {
				conf = strings.Replace(conf, `"ipam":{`, `"none":{`, 1)
			}
			f.WantLikeReference(f.Request(conf), plugintest.Unlike{})
		}
	})
}

// TestCheckTuned: a later plugin may have changed the MTU without saying so, as both the
// reference's tuning and Seam's do.
func TestCheckTuned(t *testing.T) {
	on(t, func(f *plugintest.Fixture) {
		r := f.Request(strings.Replace(conf, `"master"`, `"mtu":1400,"master"`, 1))
		l := f.Attach(f, r)
		plugintest.Must(f, f.Inside.Set(l, link.Change{MTU: 1300}))
		f.Finds(r, "has MTU 1300, not 1400")
		plugintest.Must(f, os.MkdirAll("/run/cni/tuning", 0o700))
		plugintest.Must(f, os.WriteFile("/run/cni/tuning/c1_eth0.json", []byte(`{"mtu":1400}`), 0o600))
		f.Passes(r)
	})
}
