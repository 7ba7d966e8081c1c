package vlan_test

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
	"github.com/seamnet/seam/plugin/plugintest"
	"github.com/seamnet/seam/plugin/static"
	"github.com/seamnet/seam/plugin/vlan"
)

const conf = `{"cniVersion":"1.1.0","name":"net","type":"vlan","master":"eth1","vlanId":100,"mtu":1400,"ipam":{"type":"static",
"addresses":[{"address":"10.1.0.5/24","gateway":"10.1.0.1"}],"routes":[{"dst":"192.0.2.0/24"}]}}`

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
		plugintest.Need(t, "vlan")
		f := &fixture{T: t, Plugin: vlan.New(plugintest.Host(t)), host: plugintest.Links(t, nil), outside: plugintest.LAN(t, nil, "eth1")}
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

// TestAdd: the pod reaches a host that is in the VLAN, over the master; the host may have
// the name of the pod's interface itself.
func TestAdd(t *testing.T) {
	on(t, func(f *fixture) {
		if err := f.host.AddVeth(link.Veth{Name: "eth0", PeerName: "eth7"}); err != nil {
			f.Fatal(err)
		}
		other := plugintest.Links(f, f.outside)
		base := link.Base{Name: "v100", Parent: f.must(other.ByName("eth0")).Index}
		if err := other.AddVLANLink(link.VLANLink{Base: base, ID: 100}); err != nil {
			f.Fatal(err)
		}
		if err := other.AddAddr(f.must(other.ByName("v100")), link.Addr{Prefix: netip.MustParsePrefix("10.1.0.1/24")}); err != nil {
			f.Fatal(err)
		}
		netnstest.Up(f, f.outside.NS, "v100")

		r := f.request(conf)
		l := f.add(f, r)
		master := f.must(f.host.ByName("eth1"))
		if id, err := f.inside.VLANID(l); id != 100 || err != nil || l.Parent != master.Index || l.MAC.String() != master.MAC.String() || l.MTU != 1400 || !l.Up {
			f.Errorf("VLAN %d, %v: %+v on %+v", id, err, l, master)
		}
		plugintest.Reach(f, f.pod, f.outside, "10.1.0.1")
		if err := f.Check(f.Context(), r); err != nil {
			f.Errorf("CHECK: %v", err)
		}
		again := *r
		again.Prev = nil
		_, err := cni.Add(f.Context(), f, &again)
		wantError(f.T, "again", err, cni.CodeExists, "eth0 is in the pod")
		again.IfName = "eth5"
		_, err = cni.Add(f.Context(), f, &again)
		wantError(f.T, "the same VLAN twice", err, cni.CodeInternal, "vlanId 100: another interface", "is this VLAN of eth1")
		f.del(f, r)

		zero := f.request(strings.Replace(conf, `"vlanId":100`, `"vlanId":0`, 1))
		if id, err := f.inside.VLANID(f.add(f, zero)); id != 0 || err != nil {
			f.Errorf("VLAN 0: %d, %v", id, err)
		}
		f.del(f, zero)
	})
}

// TestRefusals: nothing is touched.
func TestRefusals(t *testing.T) {
	on(t, func(f *fixture) {
		before := plugintest.State(f)
		for _, test := range []struct{ name, old, new, words string }{
			{"no master", `"master":"eth1",`, "", "master: is missing"},
			{"master missing", "eth1", "eth9", "master eth9: is not in the host"},
			{"no vlanId", `"vlanId":100,`, "", "vlanId: is missing"},
			{"vlanId above the last", "100", "4095", "vlanId 4095: must be 0 to 4094"},
			{"vlanId negative", "100", "-1", "vlanId -1: must be 0 to 4094"},
			{"mtu", "1400", "1501", "mtu 1501: the master eth1 has 1500"},
			{"no ipam", `"ipam"`, `"x"`, "ipam: is missing"},
		} {
			_, err := cni.Add(f.Context(), f, f.request(strings.Replace(conf, test.old, test.new, 1)))
			wantError(f.T, test.name, err, cni.CodeInvalidConfig, test.words)
		}
		if diff := cmp.Diff(before, plugintest.State(f)); diff != "" {
			f.Errorf("state (-before +after):\n%s", diff)
		}
		if err := f.host.Set(f.must(f.host.ByName("eth1")), link.Change{Down: true}); err != nil {
			f.Fatal(err)
		}
		_, err := cni.Add(f.Context(), f, f.request(conf))
		wantError(f.T, "master down", err, cni.CodeInternal, "master eth1: is down")
	})
}

// TestDel: a master that is gone, which makes the reference's fail, is no matter; nor is a
// namespace or a configuration that is.
func TestDel(t *testing.T) {
	on(t, func(f *fixture) {
		for _, broken := range []string{conf, strings.Replace(conf, "eth1", "eth9", 1), strings.Replace(conf, "100", "5000", 1)} {
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
		f.add(f, f.request(conf))
		if err := f.host.Delete("eth1"); err != nil { // and with it what stands on it
			f.Fatal(err)
		}
		f.del(f, f.request(conf))
	})
}

// TestCheck finds each thing that a person can break.
func TestCheck(t *testing.T) {
	on(t, func(f *fixture) {
		r := f.request(conf)
		l := f.add(f, r)
		check := func(conf string, words ...string) {
			f.Helper()
			other := f.request(conf)
			other.Prev = r.Prev
			wantError(f.T, "CHECK", f.Check(f.Context(), other), cni.CodeInternal, words...)
		}
		plugintest.LAN(f, nil, "eth2")
		check(strings.Replace(strings.Replace(conf, "eth1", "eth2", 1), "100", "101", 1), "does not stand on eth2", "is VLAN 100, not 101")
		if err := f.inside.Set(l, link.Change{Down: true, MTU: 1300}); err != nil {
			f.Fatal(err)
		}
		check(conf, "eth0 is down", "has MTU 1300, not 1400", "route 192.0.2.0/24")
		if err := f.inside.Delete("eth0"); err != nil {
			f.Fatal(err)
		}
		check(conf, "link eth0")
		wantError(f.T, "STATUS", f.Status(f.Context(), f.request(strings.Replace(conf, "eth1", "eth9", 1))), cni.CodeNotAvailable, "master eth9")
		if err := f.Status(f.Context(), f.request(conf)); err != nil {
			f.Errorf("STATUS: %v", err)
		}
	})
}

// TestStatus: a kernel without VLANs is what the host lacks, before any ADD.
func TestStatus(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		plugintest.LAN(t, nil, "eth1")
		err := vlan.New(plugintest.Host(t)).Status(t.Context(), plugintest.Request(t, conf, nil, "c1", finder))
		if ok, supportsErr := plugintest.Links(t, nil).Supports("vlan"); !ok || supportsErr != nil {
			wantError(t, "STATUS", err, cni.CodeNotAvailable, "this kernel has no vlan")
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
		reference, plugins := plugintest.Reference(f, os.Getenv("SEAM_REFERENCE_PLUGINS"), "vlan")
		add := func(p cni.Plugin, plugins cni.Finder) (*cni.Request, string) {
			r := f.request(conf)
			r.Plugins = plugins
			f.add(p, r)
			state := plugintest.Run(f, f.pod, "ip", "-d", "addr", "show", "dev", "eth0") + plugintest.Run(f, f.pod, "ip", "route")
			return r, own.ReplaceAllString(state, "")
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
		if err := reference.Check(f.Context(), ours); err != nil {
			f.Errorf("the reference's CHECK of Seam's: %v", err)
		}
		f.del(reference, ours)
	})
}
