package ipvlan_test

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/ipvlan"
	"github.com/seamnet/seam/plugin/plugintest"
	"github.com/seamnet/seam/plugin/static"
)

const (
	conf = `{"cniVersion":"1.1.0","name":"net","type":"ipvlan","master":"eth1","mtu":1400,"ipam":{"type":"static",
"addresses":[{"address":"10.1.0.5/24","gateway":"10.1.0.1"}],"routes":[{"dst":"192.0.2.0/24"}]}}`
	chained = `{"cniVersion":"1.1.0","name":"net","type":"ipvlan"}`
)

var (
	finder = cni.Registry{"static": static.New()}
	netips = cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})
)

type fixture struct {
	*testing.T
	cni.Plugin
	host, inside *link.Handle
	outside, pod *netnstest.Pod
}

func on(t *testing.T, test func(f *fixture)) {
	netnstest.Host(t, func(t *testing.T) {
		plugintest.Need(t, "ipvlan")
		f := &fixture{T: t, Plugin: ipvlan.New(plugintest.Host(t)), host: plugintest.Links(t, nil), outside: plugintest.LAN(t, nil, "eth1")}
		f.pod = netnstest.NewPod(t, "pod1")
		f.inside = plugintest.Links(t, f.pod)
		test(f)
	})
}

func (f *fixture) request(conf string) *cni.Request {
	return plugintest.Request(f, conf, f.pod, "c1", finder)
}

func (f *fixture) add(p cni.Plugin, r *cni.Request) link.Link {
	f.Helper()
	result, err := p.Add(f.Context(), r)
	if err != nil {
		f.Fatalf("ADD %s: %v", r.Config.JSON, err)
	}
	r.Prev = result
	return f.must(f.inside.ByName(r.IfName))
}

func (f *fixture) must(l link.Link, err error) link.Link {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
	return l
}

func (f *fixture) del(p cni.Plugin, r *cni.Request) {
	f.Helper()
	if err := p.Del(f.Context(), r); err != nil {
		f.Errorf("DEL: %v", err)
	}
	if l, err := f.inside.ByName("eth0"); !errors.Is(err, fs.ErrNotExist) {
		f.Errorf("after DEL: %+v, %v", l, err)
	}
}

func wantError(t *testing.T, what string, err error, code cni.Code, words ...string) {
	t.Helper()
	for _, w := range words {
		if err == nil || cni.CodeOf(err) != code || !strings.Contains(err.Error(), w) {
			t.Errorf("%s: %v, want code %d and %q", what, err, code, w)
		}
	}
}

func withMode(mode string) string {
	return strings.Replace(conf, `"master"`, `"mode":"`+mode+`","master"`, 1)
}

// TestModes: in each the pod reaches a neighbour of its master, over one that the host
// has the name of the pod's interface for as well.
func TestModes(t *testing.T) {
	on(t, func(f *fixture) {
		if err := f.host.AddVeth(link.Veth{Name: "eth0", PeerName: "eth7"}); err != nil {
			f.Fatal(err)
		}
		other := plugintest.Links(f, f.outside)
		there := f.must(other.ByName("eth0"))
		if err := other.AddAddr(there, link.Addr{Prefix: netip.MustParsePrefix("10.1.0.1/24")}); err != nil {
			f.Fatal(err)
		}
		master := f.must(f.host.ByName("eth1"))
		for _, mode := range []string{"l2", "l3", "l3s", ""} {
			r := f.request(withMode(mode))
			l := f.add(f, r)
			want := link.IPvlanMode(mode)
			if mode == "" {
				want = "l2"
			}
			if got, err := f.inside.IPvlanMode(l); err != nil || got != want {
				f.Errorf("mode %q: %q, %v", mode, got, err)
			}
			if l.Parent != master.Index || l.MAC.String() != master.MAC.String() || l.MTU != 1400 || !l.Up || l.Alias != "seam:net/c1/eth0" {
				f.Errorf("mode %q: %+v on %+v", mode, l, master)
			}
			if mode == "l2" { // in the others the outside would have to know the way by other means than ARP
				plugintest.Reach(f, f.pod, f.outside, "10.1.0.1")
			}
			if err := f.Check(f.Context(), r); err != nil {
				f.Errorf("CHECK of mode %q: %v", mode, err)
			}
			again := *r
			again.Prev = nil
			_, err := cni.Add(f.Context(), f, &again)
			wantError(f.T, "again", err, cni.CodeExists, "eth0 is in the pod")
			f.del(f, r)
		}
	})
}

// TestRefusals: nothing is touched.
func TestRefusals(t *testing.T) {
	on(t, func(f *fixture) {
		before := plugintest.State(f)
		for _, test := range []struct {
			name, conf string
			words      string
		}{
			{"unknown mode", withMode("L2"), `mode "L2": must be l2, l3 or l3s`},
			{"master missing", strings.Replace(conf, "eth1", "eth9", 1), "master eth9: is not in the host"},
			{"master not named", strings.Replace(conf, `"master":"eth1",`, "", 1), "has no default route"},
			{"mtu", strings.Replace(conf, "1400", "1501", 1), "mtu 1501: the master eth1 has 1500"},
			{"no ipam", strings.Replace(conf, `"ipam"`, `"x"`, 1), "ipam: is missing"},
		} {
			_, err := cni.Add(f.Context(), f, f.request(test.conf))
			wantError(f.T, test.name, err, cni.CodeInvalidConfig, test.words)
		}
		if err := f.host.AddMacvlan(link.Macvlan{Base: link.Base{Name: "m0", Parent: f.must(f.host.ByName("eth1")).Index}, Mode: "bridge"}); err != nil {
			f.Fatal(err)
		}
		_, err := cni.Add(f.Context(), f, f.request(conf))
		wantError(f.T, "on a macvlan's master", err, cni.CodeInternal, "carries links of another kind")
		if err := f.host.Delete("m0"); err != nil {
			f.Fatal(err)
		}
		if diff := cmp.Diff(before, plugintest.State(f)); diff != "" {
			f.Errorf("state (-before +after):\n%s", diff)
		}
	})
}

// before is the result of a plugin that got addresses, for an interface of the host.
func before() *cni.Result {
	index := 0
	return &cni.Result{
		Interfaces: []cni.Interface{{Name: "eth1"}},
		IPs:        []cni.IP{{Address: netip.MustParsePrefix("10.1.0.9/24"), Gateway: netip.MustParseAddr("10.1.0.1"), Interface: &index}},
		Routes:     []cni.Route{{Dst: netip.MustParsePrefix("192.0.2.0/24")}},
		DNS:        cni.DNS{Nameservers: []string{"10.1.0.53"}},
	}
}

// TestChained: without ipam it takes over what the plugins before got, and without a
// master it stands on their one interface.
func TestChained(t *testing.T) {
	on(t, func(f *fixture) {
		r := f.request(chained)
		r.Prev = before()
		l := f.add(f, r)
		want := before()
		want.Interfaces = []cni.Interface{{Name: "eth0", MAC: l.MAC, Sandbox: f.pod.Path}}
		if diff := cmp.Diff(want, r.Prev, netips); diff != "" {
			f.Errorf("result (-want +got):\n%s", diff)
		}
		if l.Parent != f.must(f.host.ByName("eth1")).Index {
			f.Errorf("%+v", l)
		}
		if err := f.Check(f.Context(), r); err != nil { // ⚠ the reference looks for a master without name
			f.Errorf("CHECK: %v", err)
		}
		r.Prev = nil
		f.del(f, r)

		r.Prev = before()
		r.Prev.Interfaces = append(r.Prev.Interfaces, cni.Interface{Name: "eth2"})
		_, err := cni.Add(f.Context(), f, r)
		wantError(f.T, "two interfaces before", err, cni.CodeInvalidConfig, "master: is not named", "one interface but 2")
		r.Prev = &cni.Result{Interfaces: before().Interfaces}
		_, err = cni.Add(f.Context(), f, r)
		wantError(f.T, "no addresses before", err, cni.CodeInvalidConfig, "ipam: is missing")

		r = f.request(strings.Replace(conf, `"master":"eth1",`, "", 1))
		r.Prev = &cni.Result{Interfaces: before().Interfaces}
		f.add(f, r)
		if len(r.Prev.Interfaces) != 2 || len(r.Prev.IPs) != 1 || *r.Prev.IPs[0].Interface != 1 {
			f.Errorf("with ipam, want the result before passed on: %+v", r.Prev)
		}
		f.del(f, r)
	})
}

// TestDel: a default route that is gone, which makes the reference's fail, is no matter;
// nor are a master, a namespace or a configuration that is.
func TestDel(t *testing.T) {
	on(t, func(f *fixture) {
		for _, broken := range []string{strings.Replace(conf, `"master":"eth1",`, "", 1), strings.Replace(conf, "eth1", "eth9", 1), withMode("x")} {
			f.add(f, f.request(conf))
			r := f.request(broken)
			for range 2 {
				f.del(f, r)
			}
			for _, r.NetNS = range []string{"", "/run/netns/gone"} {
				if err := f.Del(f.Context(), r); err != nil {
					f.Errorf("DEL with namespace %q: %v", r.NetNS, err)
				}
			}
		}
	})
}

// TestCheck finds each thing that a person can break.
func TestCheck(t *testing.T) {
	on(t, func(f *fixture) {
		r := f.request(conf)
		l := f.add(f, r)
		other := f.request(withMode("l3"))
		other.Prev = r.Prev
		wantError(f.T, "CHECK", f.Check(f.Context(), other), cni.CodeInternal, "has mode l2, not l3")
		if err := f.inside.Set(l, link.Change{Down: true, MTU: 1300}); err != nil {
			f.Fatal(err)
		}
		wantError(f.T, "CHECK", f.Check(f.Context(), r), cni.CodeInternal, "eth0 is down", "has MTU 1300, not 1400", "route 192.0.2.0/24")
		plugintest.LAN(f, nil, "eth2")
		elsewhere := f.request(strings.Replace(conf, "eth1", "eth2", 1))
		elsewhere.Prev = r.Prev
		wantError(f.T, "CHECK", f.Check(f.Context(), elsewhere), cni.CodeInternal, "does not stand on eth2")
		wantError(f.T, "STATUS", f.Status(f.Context(), f.request(strings.Replace(conf, "eth1", "eth9", 1))), cni.CodeNotAvailable, "master eth9")
		if err := f.Status(f.Context(), f.request(chained)); err != nil {
			f.Errorf("STATUS in a chain: %v", err)
		}
	})
}

// TestStatus: a kernel without ipvlans is what the host lacks, before any ADD.
func TestStatus(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		plugintest.LAN(t, nil, "eth1")
		err := ipvlan.New(plugintest.Host(t)).Status(t.Context(), plugintest.Request(t, conf, nil, "c1", finder))
		if ok, supportsErr := plugintest.Links(t, nil).Supports("ipvlan"); !ok || supportsErr != nil {
			wantError(t, "STATUS", err, cni.CodeNotAvailable, "this kernel has no ipvlan")
		} else if err != nil {
			t.Errorf("STATUS: %v", err)
		}
	})
}

// TestLinkInContainer: the master is in the pod.
func TestLinkInContainer(t *testing.T) {
	on(t, func(f *fixture) {
		plugintest.LAN(f, f.pod, "eth3")
		r := f.request(strings.Replace(conf, `"master":"eth1"`, `"linkInContainer":true,"master":"eth3"`, 1))
		if l := f.add(f, r); l.Parent != f.must(f.inside.ByName("eth3")).Index {
			f.Errorf("%+v", l)
		}
		if err := f.Check(f.Context(), r); err != nil {
			f.Errorf("CHECK: %v", err)
		}
		f.del(f, r)
	})
}

// own is what each interface has of its own; the alias is Seam's.
var own = regexp.MustCompile(`(?m)^\d+: |fe80::[0-9a-f:]+|^ *alias \S+\s|valid_lft.*$|tentative |([0-9a-f]{2}:){5}[0-9a-f]{2}`)

// TestLikeReference: the same result and the same state inside, and each takes the other's
// attachments over.
func TestLikeReference(t *testing.T) {
	on(t, func(f *fixture) {
		reference, plugins := plugintest.Reference(f, os.Getenv("SEAM_REFERENCE_PLUGINS"), "ipvlan")
		for _, r := range []*cni.Request{f.request(withMode("l3")), f.request(chained)} {
			isChained := string(r.Config.JSON) == chained
			add := func(p cni.Plugin, plugins cni.Finder) (*cni.Request, string) {
				call := *r
				call.Plugins = plugins
				if isChained {
					call.Prev = before()
					call.Prev.DNS = cni.DNS{} // ⚠ the reference drops it
				}
				f.add(p, &call)
				state := plugintest.Run(f, f.pod, "ip", "-d", "addr", "show", "dev", "eth0") + plugintest.Run(f, f.pod, "ip", "route")
				return &call, own.ReplaceAllString(state, "")
			}
			theirs, want := add(reference, plugins)
			theirs.Plugins = finder
			if err := f.Check(f.Context(), theirs); err != nil {
				f.Errorf("CHECK of the reference's: %v", err)
			}
			f.del(f, theirs)
			ours, got := add(f, finder)
			if diff := cmp.Diff(theirs.Prev, ours.Prev, netips, cmpopts.EquateEmpty()); diff != "" {
				f.Errorf("result (-reference +Seam):\n%s", diff)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				f.Errorf("state inside (-reference +Seam):\n%s", diff)
			}
			ours.Plugins = plugins
			if isChained {
				f.del(f, ours)
				continue // ⚠ the reference's CHECK wants a master with a name, its DEL prevResult or a default route
			}
			if err := reference.Check(f.Context(), ours); err != nil {
				f.Errorf("the reference's CHECK of Seam's: %v", err)
			}
			f.del(reference, ours)
		}
	})
}
