package vlan_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/plugintest"
	"github.com/seamnet/seam/plugin/static"
	"github.com/seamnet/seam/plugin/vlan"
)

const conf = `{"cniVersion":"1.1.0","name":"net","type":"vlan","master":"eth1","vlanId":100,"mtu":1400,"ipam":{"type":"static",
"addresses":[{"address":"10.1.0.5/24","gateway":"10.1.0.1"}],"routes":[{"dst":"192.0.2.0/24"}]}}`

var finder = cni.Registry{"static": static.New()}

// on runs test on a host with the link eth1 to a network where another host, Outside, is.
func on(t *testing.T, test func(f *plugintest.Fixture)) {
	netnstest.Host(t, func(t *testing.T) {
		plugintest.Need(t, "vlan")
		f := plugintest.New(t, vlan.New(plugintest.Host(t)), finder)
		f.Outside = plugintest.LAN(t, nil, "eth1")
		test(f)
	})
}

// TestAdd: the pod reaches a host that is in the VLAN, over the master; the host may have
// the name of the pod's interface itself.
func TestAdd(t *testing.T) {
	on(t, func(f *plugintest.Fixture) {
		plugintest.Must(f, f.Host.AddVeth(link.Veth{Name: "eth0", PeerName: "eth7"}))
		other := plugintest.Links(f, f.Outside)
		base := link.Base{Name: "v100", Parent: f.Link(other, "eth0").Index}
		plugintest.Must(f, other.AddVLANLink(link.VLANLink{Base: base, ID: 100}))
		plugintest.Must(f, other.AddAddr(f.Link(other, "v100"), link.Addr{Prefix: netip.MustParsePrefix("10.1.0.1/24")}))
		netnstest.Up(f, f.Outside.NS, "v100")

		r := f.Request(conf)
		l := f.Attach(f, r)
		master := f.Link(f.Host, "eth1")
		if id, err := f.Inside.VLANID(l); id != 100 || err != nil || l.Parent != master.Index || l.MAC.String() != master.MAC.String() || l.MTU != 1400 || !l.Up {
			f.Errorf("VLAN %d, %v: %+v on %+v", id, err, l, master)
		}
		plugintest.Reach(f, f.Pod, f.Outside, "10.1.0.1")
		f.Passes(r)
		again := *r
		again.Prev = nil
		f.Refuses("again", &again, cni.CodeExists, "eth0 is in the pod")
		again.IfName = "eth5"
		f.Refuses("the same VLAN twice", &again, cni.CodeInternal, "vlanId 100: another interface", "is this VLAN of eth1")
		f.Detach(f, r)

		zero := f.Request(strings.Replace(conf, `"vlanId":100`, `"vlanId":0`, 1))
		if id, err := f.Inside.VLANID(f.Attach(f, zero)); id != 0 || err != nil {
			f.Errorf("VLAN 0: %d, %v", id, err)
		}
		f.Detach(f, zero)
	})
}

// TestRefusals: nothing is touched.
func TestRefusals(t *testing.T) {
	on(t, func(f *plugintest.Fixture) {
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
			f.Refuses(test.name, f.Request(strings.Replace(conf, test.old, test.new, 1)), cni.CodeInvalidConfig, test.words)
		}
		if diff := cmp.Diff(before, plugintest.State(f)); diff != "" {
			f.Errorf("state (-before +after):\n%s", diff)
		}
		plugintest.Must(f, f.Host.Set(f.Link(f.Host, "eth1"), link.Change{Down: true}))
		f.Refuses("master down", f.Request(conf), cni.CodeInternal, "master eth1: is down")
		plugintest.WantError(f, "STATUS", f.Status(f.Context(), f.Request(conf)), cni.CodeNotAvailable, "master eth1: is down: ip link set eth1 up")
	})
}

// TestDel: a master that is gone, which makes the reference's fail, is no matter; nor is a
// namespace or a configuration that is.
func TestDel(t *testing.T) {
	on(t, func(f *plugintest.Fixture) {
		for _, broken := range []string{conf, strings.Replace(conf, "eth1", "eth9", 1), strings.Replace(conf, "100", "5000", 1)} {
			f.Attach(f, f.Request(conf))
			f.DetachTwice(f.Request(broken))
		}
		f.Attach(f, f.Request(conf))
		plugintest.Must(f, f.Host.Delete("eth1")) // and with it what stands on it
		f.Detach(f, f.Request(conf))
	})
}

// TestCheck finds each thing that a person can break.
func TestCheck(t *testing.T) {
	on(t, func(f *plugintest.Fixture) {
		r := f.Request(conf)
		l := f.Attach(f, r)
		check := func(conf string, words ...string) {
			f.Helper()
			other := f.Request(conf)
			other.Prev = r.Prev
			f.Finds(other, words...)
		}
		plugintest.LAN(f, nil, "eth2")
		check(strings.Replace(strings.Replace(conf, "eth1", "eth2", 1), "100", "101", 1), "does not stand on eth2", "is VLAN 100, not 101")
		plugintest.Must(f, f.Inside.Set(l, link.Change{Down: true, MTU: 1300}))
		check(conf, "eth0 is down", "has MTU 1300, not 1400", "route 192.0.2.0/24")
		plugintest.Must(f, f.Inside.Delete("eth0"))
		check(conf, "link eth0")
		plugintest.WantError(f, "STATUS", f.Status(f.Context(), f.Request(strings.Replace(conf, "eth1", "eth9", 1))), cni.CodeNotAvailable, "master eth9")
		if err := f.Status(f.Context(), f.Request(conf)); err != nil {
			f.Errorf("STATUS: %v", err)
		}
	})
}

// TestStatus: a kernel without VLANs is what the host lacks, before any ADD.
func TestStatus(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		plugintest.LAN(t, nil, "eth1")
		plugintest.WantLackTold(t, "vlan", vlan.New(plugintest.Host(t)), plugintest.Request(t, conf, nil, "c1", finder))
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
		f.WantLikeReference(f.Request(conf), plugintest.Unlike{})
	})
}
