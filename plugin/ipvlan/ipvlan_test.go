package ipvlan_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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

var finder = cni.Registry{"static": static.New()}

// on runs test on a host with the link eth1 to a network where another host, Outside, is.
func on(t *testing.T, test func(f *plugintest.Fixture)) {
	netnstest.Host(t, func(t *testing.T) {
		plugintest.Need(t, "ipvlan")
		f := plugintest.New(t, ipvlan.New(plugintest.Host(t)), finder)
		f.Outside = plugintest.LAN(t, nil, "eth1")
		test(f)
	})
}

func withMode(mode string) string {
	return strings.Replace(conf, `"master"`, `"mode":"`+mode+`","master"`, 1)
}

// TestModes: in each the pod reaches a neighbour of its master, over one that the host
// has the name of the pod's interface for as well.
func TestModes(t *testing.T) {
	on(t, func(f *plugintest.Fixture) {
		plugintest.Must(f, f.Host.AddVeth(link.Veth{Name: "eth0", PeerName: "eth7"}))
		other := plugintest.Links(f, f.Outside)
		plugintest.Must(f, other.AddAddr(f.Link(other, "eth0"), link.Addr{Prefix: netip.MustParsePrefix("10.1.0.1/24")}))
		master := f.Link(f.Host, "eth1")
		for _, mode := range []string{"l2", "l3", "l3s", ""} {
			r := f.Request(withMode(mode))
			l := f.Attach(f, r)
			want := link.IPvlanMode(mode)
			if mode == "" {
				want = "l2"
			}
			if got, err := f.Inside.IPvlanMode(l); err != nil || got != want {
				f.Errorf("mode %q: %q, %v", mode, got, err)
			}
			if l.Parent != master.Index || l.MAC.String() != master.MAC.String() || l.MTU != 1400 || !l.Up || l.Alias != "seam:net/c1/eth0" {
				f.Errorf("mode %q: %+v on %+v", mode, l, master)
			}
			if mode == "l2" { // in the others the outside would have to know the way by other means than ARP
				plugintest.Reach(f, f.Pod, f.Outside, "10.1.0.1")
			}
			f.Passes(r)
			f.Refuses("again", f.Request(withMode(mode)), cni.CodeExists, "eth0 is in the pod")
			f.Detach(f, r)
		}
	})
}

// TestRefusals: nothing is touched.
func TestRefusals(t *testing.T) {
	on(t, func(f *plugintest.Fixture) {
		before := plugintest.State(f)
		for _, test := range []struct{ name, conf, words string }{
			{"unknown mode", withMode("L2"), `mode "L2": must be l2, l3 or l3s`},
			{"master missing", strings.Replace(conf, "eth1", "eth9", 1), "master eth9: is not in the host"},
			{"master not named", strings.Replace(conf, `"master":"eth1",`, "", 1), "has no default route"},
			{"mtu", strings.Replace(conf, "1400", "1501", 1), "mtu 1501: the master eth1 has 1500"},
			{"no ipam", strings.Replace(conf, `"ipam"`, `"x"`, 1), "ipam: is missing"},
		} {
			f.Refuses(test.name, f.Request(test.conf), cni.CodeInvalidConfig, test.words)
		}
		base := link.Base{Name: "m0", Parent: f.Link(f.Host, "eth1").Index}
		plugintest.Must(f, f.Host.AddMacvlan(link.Macvlan{Base: base, Mode: "bridge"}))
		f.Refuses("on a macvlan's master", f.Request(conf), cni.CodeInternal, "carries links of another kind")
		plugintest.Must(f, f.Host.Delete("m0"))
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
	on(t, func(f *plugintest.Fixture) {
		r := f.Request(chained)
		r.Prev = before()
		l := f.Attach(f, r)
		want := before()
		want.Interfaces = []cni.Interface{{Name: "eth0", MAC: l.MAC, Sandbox: f.Pod.Path}}
		plugintest.WantResult(f, "chained", want, r.Prev)
		if l.Parent != f.Link(f.Host, "eth1").Index {
			f.Errorf("%+v", l)
		}
		f.Passes(r) // ⚠ the reference looks for a master without name
		r.Prev = nil
		f.Detach(f, r)

		r.Prev = before()
		r.Prev.Interfaces = append(r.Prev.Interfaces, cni.Interface{Name: "eth2"})
		f.Refuses("two interfaces before", r, cni.CodeInvalidConfig, "master: is not named", "one interface but 2")
		r.Prev = &cni.Result{Interfaces: before().Interfaces}
		f.Refuses("no addresses before", r, cni.CodeInvalidConfig, "ipam: is missing")

		r = f.Request(strings.Replace(conf, `"master":"eth1",`, "", 1))
		r.Prev = &cni.Result{Interfaces: before().Interfaces}
		f.Attach(f, r)
		if len(r.Prev.Interfaces) != 2 || len(r.Prev.IPs) != 1 || *r.Prev.IPs[0].Interface != 1 {
			f.Errorf("with ipam, want the result before passed on: %+v", r.Prev)
		}
		f.Detach(f, r)
	})
}

// TestDel: a default route that is gone, which makes the reference's fail, is no matter;
// nor are a master, a namespace or a configuration that is.
func TestDel(t *testing.T) {
	on(t, func(f *plugintest.Fixture) {
		for _, broken := range []string{strings.Replace(conf, `"master":"eth1",`, "", 1), strings.Replace(conf, "eth1", "eth9", 1), withMode("x")} {
			f.Attach(f, f.Request(conf))
			f.DetachTwice(f.Request(broken))
		}
	})
}

// TestCheck finds each thing that a person can break.
func TestCheck(t *testing.T) {
	on(t, func(f *plugintest.Fixture) {
		r := f.Request(conf)
		l := f.Attach(f, r)
		other := f.Request(withMode("l3"))
		other.Prev = r.Prev
		f.Finds(other, "has mode l2, not l3")
		plugintest.Must(f, f.Inside.Set(l, link.Change{Down: true, MTU: 1300}))
		f.Finds(r, "eth0 is down", "has MTU 1300, not 1400", "route 192.0.2.0/24")
		plugintest.LAN(f, nil, "eth2")
		elsewhere := f.Request(strings.Replace(conf, "eth1", "eth2", 1))
		elsewhere.Prev = r.Prev
		f.Finds(elsewhere, "does not stand on eth2")
		plugintest.WantError(f, "STATUS", f.Status(f.Context(), f.Request(strings.Replace(conf, "eth1", "eth9", 1))), cni.CodeNotAvailable, "master eth9")
		if err := f.Status(f.Context(), f.Request(chained)); err != nil {
			f.Errorf("STATUS in a chain: %v", err)
		}
	})
}

// TestMasterDown: ADD takes it, as the reference plugin does; that nothing passes is what
// STATUS says before, and CHECK after.
func TestMasterDown(t *testing.T) {
	on(t, func(f *plugintest.Fixture) {
		const down = "master eth1: is down: ip link set eth1 up"
		host, r := f.Link(f.Host, "eth1"), f.Request(conf)
		plugintest.Must(f, f.Host.Set(host, link.Change{Down: true}))
		plugintest.WantError(f, "STATUS", f.Status(f.Context(), r), cni.CodeNotAvailable, down)
		f.Attach(f, r)
		f.Finds(r, down)
		plugintest.Must(f, f.Host.Set(host, link.Change{Up: true}))
		f.Passes(r)
		f.Detach(f, r)
	})
}

// TestStatus: a kernel without ipvlans is what the host lacks, before any ADD.
func TestStatus(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		plugintest.LAN(t, nil, "eth1")
		plugintest.WantLackTold(t, "ipvlan", ipvlan.New(plugintest.Host(t)), plugintest.Request(t, conf, nil, "c1", finder))
	})
}

// TestLinkInContainer: the master is in the pod.
func TestLinkInContainer(t *testing.T) {
	on(t, func(f *plugintest.Fixture) {
		plugintest.LAN(f, f.Pod, "eth3")
		r := f.Request(strings.Replace(conf, `"master":"eth1"`, `"linkInContainer":true,"master":"eth3"`, 1))
		if l := f.Attach(f, r); l.Parent != f.Link(f.Inside, "eth3").Index {
			f.Errorf("%+v", l)
		}
		f.Passes(r)
		f.Detach(f, r)
	})
}

// TestLikeReference: the same result and the same state inside, and each takes the other's
// attachments over.
func TestLikeReference(t *testing.T) {
	on(t, func(f *plugintest.Fixture) {
		f.WantLikeReference(f.Request(withMode("l3")), plugintest.Unlike{})
		r := f.Request(chained)
		r.Prev = before()
		r.Prev.DNS = cni.DNS{} // ⚠ the reference drops it
		// ⚠ the reference's CHECK wants a master with a name, its DEL prevResult or a default route
		f.WantLikeReference(r, plugintest.Unlike{Undo: true})
	})
}
