package macvlan_test

import (
	"errors"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/plugin/plugintest"
)

// TestMaster: by name or by the default route, on the host or in the pod.
func TestMaster(t *testing.T) {
	on(t, func(f *fixture) {
		unnamed := strings.Replace(conf, `,"master":"eth1"`, "", 1)
		inPod := func(s string) string { return strings.Replace(s, `"type"`, `"linkInContainer":true,"type"`, 1) }
		wantNone := func(where, conf string, words ...string) {
			f.Helper()
			_, err := cni.Add(f.Context(), f, f.request(conf))
			wantError(f.T, where, err, cni.CodeInvalidConfig, words...)
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
			r := f.request(conf)
			if l := f.add(r); l.Parent != parent.Index {
				f.Errorf("%s: stands on %d, want %+v", conf, l.Parent, parent)
			}
			if err := f.Check(f.Context(), r); err != nil {
				f.Errorf("%s: CHECK: %v", conf, err)
			}
			f.del(r)
		}
		host := must(f.host.ByName("eth1"))
		defaultRoute(f.T, f.host, host)
		want(host, unnamed)
		plugintest.LAN(f, f.pod, "eth3")
		inside := f.link("eth3")
		want(inside, inPod(strings.Replace(conf, "eth1", "eth3", 1)))
		defaultRoute(f.T, f.inside, inside)
		want(inside, inPod(unnamed))
		want(host, unnamed)
	})
}

func defaultRoute(t *testing.T, h *link.Handle, l link.Link) {
	t.Helper()
	if err := h.AddAddr(l, link.Addr{Prefix: netip.MustParsePrefix("10.9.0.2/24")}); err != nil {
		t.Fatal(err)
	}
	r := link.Route{Route: cni.Route{Dst: netip.MustParsePrefix("0.0.0.0/0"), GW: netip.MustParseAddr("10.9.0.1")}}
	if err := h.AddRoute(l, r); err != nil {
		t.Fatal(err)
	}
}

// TestDel: it needs neither the master, nor the namespace, nor a valid configuration, nor
// an earlier result; and clears away what a killed ADD left under another name.
func TestDel(t *testing.T) {
	on(t, func(f *fixture) {
		for name, broken := range map[string]string{
			"valid":               conf,
			"no default route":    strings.Replace(conf, `,"master":"eth1"`, "", 1),
			"master that is gone": strings.Replace(conf, "eth1", "eth9", 1),
			"invalid":             strings.Replace(conf, `"master"`, `"mode":"x","mtu":"big","ipam":{},"master"`, 1),
		} {
			f.add(f.request(conf))
			r := f.request(broken)
			for range 2 {
				f.del(r)
			}
			for _, path := range []string{"", "/run/netns/gone"} {
				r.NetNS = path
				if err := f.Del(f.Context(), r); err != nil {
					f.Errorf("%s: DEL with namespace %q: %v", name, path, err)
				}
			}
		}
		before := must(f.inside.List())
		r := f.request(conf)
		f.add(r)
		// As if killed before the link had its name.
		if err := f.inside.Delete("eth0"); err != nil {
			f.Fatal(err)
		}
		if err := f.inside.AddVeth(link.Veth{Name: link.Aside("eth0"), PeerName: "x"}); err != nil {
			f.Fatal(err)
		}
		f.del(r)
		if diff := cmp.Diff(before, must(f.inside.List())); diff != "" {
			f.Errorf("links of the pod (-before +after):\n%s", diff)
		}
	})
}

// TestCheck finds each thing that a person can break, and all at once.
func TestCheck(t *testing.T) {
	on(t, func(f *fixture) {
		v4 := strings.Replace(dual, "fd00:1::5/64", "10.1.0.6/24", 1)
		v4 = strings.Replace(strings.Replace(v4, "fd00:1::1", "10.1.0.1", 1), `,{"dst":"2001:db8:1::/48","gw":"fd00:1::7","mtu":1300}`, "", 1)
		r := f.request(v4)
		l := f.add(r)
		host := must(f.host.ByName("eth1"))
		broken := func(h *link.Handle, l link.Link, c link.Change, words ...string) {
			f.Helper()
			if err := h.Set(l, c); err != nil {
				f.Fatal(err)
			}
			wantError(f.T, "CHECK", f.Check(f.Context(), r), cni.CodeInternal, words...)
		}
		broken(f.host, host, link.Change{Down: true}, "master eth1: is down")
		broken(f.host, host, link.Change{Up: true, MTU: 1399}, "has MTU 1399, not 1400")
		broken(f.host, host, link.Change{MTU: 1500}, "has MTU 1399, not 1400")
		r.Prev.Interfaces[0].MTU = 1399 // as a later plugin may say
		if err := f.Check(f.Context(), r); err != nil {
			f.Errorf("CHECK of an MTU that a later plugin set: %v", err)
		}
		broken(f.inside, l, link.Change{Down: true, MTU: 1300, MAC: []byte{2, 0, 0, 0, 0, 9}},
			"eth0 is down", "has MTU 1300", "has MAC address 02:00:00:00:00:09", "route 192.0.2.0/24")
		if err := f.inside.DeleteAddr(l, netip.MustParsePrefix("10.1.0.5/24")); err != nil {
			f.Fatal(err)
		}
		wantError(f.T, "CHECK", f.Check(f.Context(), r), cni.CodeInternal, "address 10.1.0.5/24 of eth0 is gone")
		if err := f.inside.Delete("eth0"); err != nil {
			f.Fatal(err)
		}
		wantError(f.T, "CHECK", f.Check(f.Context(), r), cni.CodeInternal, "link eth0")

		other := plugintest.LAN(f, nil, "eth2")
		base := link.Base{Name: "eth0", Parent: must(f.host.ByName("eth2")).Index, NS: f.pod.NS}
		if err := f.host.AddMacvlan(link.Macvlan{Base: base, Mode: "bridge"}); err != nil {
			f.Fatal(err)
		}
		wantError(f.T, "CHECK", f.Check(f.Context(), r), cni.CodeInternal, "does not stand on eth1", "bcqueuelen 1000, not 3000")
		if err := f.inside.Delete("eth0"); err != nil {
			f.Fatal(err)
		}
		if err := plugintest.Links(f, other).AddVeth(link.Veth{Name: "x", PeerName: "eth0", PeerNS: f.pod.NS}); err != nil {
			f.Fatal(err)
		}
		wantError(f.T, "CHECK", f.Check(f.Context(), r), cni.CodeInternal, "eth0 is a veth, not a macvlan")
	})
}

// TestStatus: without the master there is nothing to stand on.
func TestStatus(t *testing.T) {
	on(t, func(f *fixture) {
		if err := f.Status(f.Context(), f.request(conf)); err != nil {
			f.Error(err)
		}
		wantError(f.T, "STATUS", f.Status(f.Context(), f.request(strings.Replace(conf, "eth1", "eth9", 1))), cni.CodeNotAvailable, "master eth9: is not in the host")
		wantError(f.T, "STATUS", f.Status(f.Context(), f.request(strings.Replace(conf, `,"master":"eth1"`, "", 1))), cni.CodeNotAvailable, "no default route")
		wantError(f.T, "STATUS", f.Status(f.Context(), f.request(strings.Replace(conf, `"master"`, `"mac":"zz","mode":"x","master"`, 1))), cni.CodeInvalidConfig, `MAC address "zz"`, `mode "x"`)
		if err := f.Status(f.Context(), f.request(strings.Replace(conf, `"master":"eth1"`, `"linkInContainer":true`, 1))); err != nil {
			f.Errorf("STATUS where the master is in the pod: %v", err)
		}
		if err := f.GC(f.Context(), f.request(conf)); err != nil {
			f.Errorf("GC: %v", err)
		}
	})
}

// TestLikeReference: the same result and the same state inside, and each takes the other's
// attachments over.
func TestLikeReference(t *testing.T) {
	on(t, func(f *fixture) {
		reference, plugins := plugintest.Reference(f, os.Getenv("SEAM_REFERENCE_PLUGINS"), "macvlan")
		defaultRoute(f.T, f.host, must(f.host.ByName("eth1")))
		for _, keys := range []string{
			`"mode":"vepa","mtu":1400,"bcqueuelen":2000,"mac":"02:00:00:00:00:07"`, `"mode":"passthru","x":"ipam"`,
		} {
			conf := strings.Replace(dual, `"master":"eth1","mtu":1400,"bcqueuelen":3000,"dns":{}`, keys, 1)
			conf = strings.Replace(conf, `"dns":{"nameservers":["10.1.0.53"]}`, `"x":1`, 1)
			conf = strings.Replace(conf, `,"mtu":1300`, ``, 1) // the reference passes it over
			if strings.Contains(keys, "ipam") {
				conf = strings.Replace(conf, `"ipam":{`, `"none":{`, 1)
			}
			theirs := f.request(conf)
			theirs.Plugins = plugins
			wanted := f.outcome(reference, theirs)
			if err := f.Check(f.Context(), withPlugins(theirs, finder)); err != nil {
				f.Errorf("CHECK of the reference's: %v", err)
			}
			f.del(withPlugins(theirs, finder))
			ours := f.request(conf)
			if diff := cmp.Diff(wanted, f.outcome(f, ours), netips, cmpopts.EquateEmpty()); diff != "" {
				f.Errorf("%s (-reference +Seam):\n%s", conf, diff)
			}
			if err := reference.Check(f.Context(), withPlugins(ours, plugins)); err != nil {
				f.Errorf("the reference's CHECK of Seam's: %v", err)
			}
			if err := reference.Del(f.Context(), withPlugins(ours, plugins)); err != nil {
				f.Errorf("the reference's DEL of Seam's: %v", err)
			}
			f.del(ours)
		}
	})
}

func withPlugins(r *cni.Request, plugins cni.Finder) *cni.Request {
	other := *r
	other.Plugins = plugins
	return &other
}

type outcome struct {
	Result *cni.Result
	State  string
}

// own is what each interface has of its own: number, MAC address and what follows from it; the
// alias is Seam's.
var own = regexp.MustCompile(`(?m)^\d+: |([0-9a-f]{2}:){5}[0-9a-f]{2}|fe80::[0-9a-f:]+|^ *alias \S+\s|valid_lft.*$|tentative `)

func (f *fixture) outcome(p cni.Plugin, r *cni.Request) outcome {
	f.Helper()
	result, err := p.Add(f.Context(), r)
	if err != nil {
		f.Fatalf("ADD %s: %v", r.Config.JSON, err)
	}
	r.Prev = result
	shown := result.Clone()
	for i := range shown.Interfaces {
		if !strings.HasPrefix(shown.Interfaces[i].MAC.String(), "02:00:00:00") {
			shown.Interfaces[i].MAC = nil
		}
	}
	state := plugintest.Run(f, f.pod, "ip", "-d", "addr", "show", "dev", "eth0") + plugintest.Run(f, f.pod, "ip", "route") +
		plugintest.Run(f, f.pod, "ip", "-6", "route", "show", "proto", "boot")
	return outcome{shown, own.ReplaceAllString(state, "")}
}

// TestCheckTuned: a later plugin may have changed the MTU without saying so, as both the
// reference's tuning and Seam's do.
func TestCheckTuned(t *testing.T) {
	on(t, func(f *fixture) {
		r := f.request(strings.Replace(conf, `"master"`, `"mtu":1400,"master"`, 1))
		l := f.add(r)
		if err := f.inside.Set(l, link.Change{MTU: 1300}); err != nil {
			f.Fatal(err)
		}
		wantError(f.T, "CHECK", f.Check(f.Context(), r), cni.CodeInternal, "has MTU 1300, not 1400")
		if err := errors.Join(os.MkdirAll("/run/cni/tuning", 0o700), os.WriteFile("/run/cni/tuning/c1_eth0.json", []byte(`{"mtu":1400}`), 0o600)); err != nil {
			f.Fatal(err)
		}
		if err := f.Check(f.Context(), r); err != nil {
			f.Errorf("CHECK: %v", err)
		}
	})
}
