package macvlan_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/macvlan"
	"github.com/seamnet/seam/plugin/plugintest"
	"github.com/seamnet/seam/plugin/static"
)

// conf is layer 2 only, dual has addresses of both families.
const (
	conf = `{"cniVersion":"1.1.0","name":"net","type":"macvlan","master":"eth1"}`
	dual = `{"cniVersion":"1.1.0","name":"net","type":"macvlan","master":"eth1","mtu":1400,"bcqueuelen":3000,"dns":{},"ipam":{"type":"static",
"addresses":[{"address":"10.1.0.5/24","gateway":"10.1.0.1"},{"address":"fd00:1::5/64","gateway":"fd00:1::1"}],
"routes":[{"dst":"192.0.2.0/24"},{"dst":"2001:db8:1::/48","gw":"fd00:1::7","mtu":1300}],"dns":{"nameservers":["10.1.0.53"]}}}`
)

var (
	finder  = cni.Registry{"static": static.New()}
	outside = []netip.Prefix{netip.MustParsePrefix("10.1.0.1/24"), netip.MustParsePrefix("fd00:1::1/64")}
)

// on runs test on a host with the link eth1 to a network where another host, Outside, is.
func on(t *testing.T, test func(f *plugintest.Fixture)) {
	t.Parallel() // most of the time is the kernel's, who asks whether others have an address
	netnstest.Host(t, func(t *testing.T) {
		plugintest.Need(t, "macvlan")
		f := plugintest.New(t, macvlan.New(plugintest.Host(t)), finder)
		f.Outside = plugintest.LAN(t, nil, "eth1")
		test(f)
	})
}

func sysctl(t *testing.T, pod *netnstest.Pod, key string) (value string) {
	t.Helper()
	err := pod.NS.Do(func() (err error) {
		value, err = link.Sysctl(key).Get()
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return value
}

// TestDualStack: result, interface and reachability, and that other hosts' addresses are
// found out.
func TestDualStack(t *testing.T) {
	on(t, func(f *plugintest.Fixture) {
		other := plugintest.Links(f, f.Outside)
		for _, p := range outside {
			plugintest.Must(f, other.AddAddr(f.Link(other, "eth0"), link.Addr{Prefix: p, NoDAD: true}))
		}
		r := f.Request(dual)
		l := f.Attach(f, r)
		index := 0
		want := &cni.Result{
			Interfaces: []cni.Interface{{Name: "eth0", MAC: l.MAC, Sandbox: f.Pod.Path}},
			IPs: []cni.IP{
				{Address: netip.MustParsePrefix("10.1.0.5/24"), Gateway: netip.MustParseAddr("10.1.0.1"), Interface: &index},
				{Address: netip.MustParsePrefix("fd00:1::5/64"), Gateway: netip.MustParseAddr("fd00:1::1"), Interface: &index},
			},
			Routes: []cni.Route{{Dst: netip.MustParsePrefix("192.0.2.0/24")}, {Dst: netip.MustParsePrefix("2001:db8:1::/48"), GW: netip.MustParseAddr("fd00:1::7"), MTU: 1300}},
			DNS:    cni.DNS{Nameservers: []string{"10.1.0.53"}},
		}
		plugintest.WantResult(f, "dual-stack", want, r.Prev, cmpopts.EquateEmpty())
		m, err := f.Inside.Macvlan(l)
		if l.MTU != 1400 || !l.Up || l.Alias != "seam:net/c1/eth0" || l.Parent != f.Link(f.Host, "eth1").Index || m.Mode != "bridge" || m.BroadcastQueue != 3000 {
			f.Errorf("interface %+v, %+v, %v", l, m, err)
		}
		for _, key := range []string{"ipv4/conf/eth0/arp_notify", "ipv6/conf/eth0/ndisc_notify", "ipv6/conf/eth0/accept_dad", "ipv6/conf/eth0/keep_addr_on_down"} {
			if got := sysctl(f.T, f.Pod, key); got != "1" {
				f.Errorf("%s is %s", key, got)
			}
		}
		for _, p := range outside {
			plugintest.Reach(f, f.Pod, f.Outside, p.Addr().String())
		}
		f.Passes(r)
		f.Detach(f, r)

		taken := strings.Replace(dual, "fd00:1::5/64", "fd00:1::1/64", 1)
		f.Refuses("an address that another host has", f.Request(taken), cni.CodeInternal, "fd00:1::1/64 of eth0: another host has it")
		if l, err := f.Inside.ByName("eth0"); err == nil {
			f.Errorf("left: %+v", l)
		}
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestModes: each mode is the interface's; CHECK tells it from the others. passthru is
// one for each master.
func TestModes(t *testing.T) {
	on(t, func(f *plugintest.Fixture) {
		modes := []string{"bridge", "private", "vepa", "passthru", ""}
		for i, mode := range modes {
			r := f.Request(strings.Replace(conf, `"master"`, `"mode":"`+mode+`","master"`, 1))
			l := f.Attach(f, r)
			if m := must(f.Inside.Macvlan(l)); string(m.Mode) != mode && (mode != "" || m.Mode != "bridge") {
				f.Errorf("mode %q: %+v", mode, m)
			}
			if !l.Up || len(r.Prev.IPs) > 0 {
				f.Errorf("layer 2 only: %+v, %+v", l, r.Prev)
			}
			f.Passes(r)
			other := *r
			other.Config.JSON = []byte(strings.Replace(conf, `"master"`, `"mode":"`+modes[(i+1)%4]+`","master"`, 1))
			f.Finds(&other, "has mode")
			if mode == "passthru" {
				passthruIsAlone(f, r)
			}
			f.Detach(f, r)
		}
		f.Refuses("an unknown mode", f.Request(strings.Replace(conf, `"master"`, `"mode":"Bridge","master"`, 1)), cni.CodeInvalidConfig, `mode "Bridge"`, "bridge, private, vepa or passthru")
	})
}

func passthruIsAlone(f *plugintest.Fixture, r *cni.Request) {
	f.Helper()
	second := *r
	second.IfName, second.Prev = "eth5", nil
	f.Refuses("a second one on a passthru's master", &second, cni.CodeInternal, "passthru allows one")
	again := *r
	again.Prev = nil
	f.Refuses("the same one again", &again, cni.CodeExists, "eth0 is in the pod")
	f.Link(f.Inside, "eth0")
}

// TestMAC: the first of runtimeConfig, args, CNI_ARGS and the key.
func TestMAC(t *testing.T) {
	on(t, func(f *plugintest.Fixture) {
		for _, test := range []struct{ name, keys, args, want string }{
			{"key", `"mac":"02:00:00:00:00:01"`, "", "02:00:00:00:00:01"},
			{"CNI_ARGS before the key", `"mac":"02:00:00:00:00:01"`, "02:00:00:00:00:02", "02:00:00:00:00:02"},
			{"args before CNI_ARGS", `"mac":"02:00:00:00:00:01","args":{"cni":{"mac":"02:00:00:00:00:03"}}`, "02:00:00:00:00:02", "02:00:00:00:00:03"},
			{"runtimeConfig before all", `"mac":"02:00:00:00:00:01","runtimeConfig":{"mac":"02:00:00:00:00:04"}`, "02:00:00:00:00:02", "02:00:00:00:00:04"},
			{"with capitals", `"runtimeConfig":{"Mac":"02:00:00:00:00:05"}`, "", "02:00:00:00:00:05"},
		} {
			r := f.Request(strings.Replace(conf, `"master"`, test.keys+`,"master"`, 1))
			if test.args != "" {
				r.Args = cni.Args{{Key: "MAC", Value: test.args}}
			}
			if l := f.Attach(f, r); l.MAC.String() != test.want {
				f.Errorf("%s: %s", test.name, l.MAC)
			}
			f.Detach(f, r)
		}
		f.Refuses("a group's address", f.Request(strings.Replace(conf, `"master"`, `"mac":"01:00:00:00:00:01","master"`, 1)), cni.CodeInvalidConfig, "group address")
	})
}

// TestNames: the pod's interface may have a name that the host has too; one that is in the
// pod is refused and untouched, by the ADD and by the DEL of another attachment.
func TestNames(t *testing.T) {
	on(t, func(f *plugintest.Fixture) {
		plugintest.Must(f, f.Host.AddVeth(link.Veth{Name: "eth0", PeerName: "eth7"}))
		r := f.Request(conf)
		l := f.Attach(f, r)
		if l.Kind != "macvlan" {
			f.Errorf("%+v", l)
		}
		for _, id := range []string{"c1", "c2"} {
			again := *r
			again.ContainerID = id
			f.Refuses("again as "+id, &again, cni.CodeExists, "eth0 is in the pod")
			if id != "c1" {
				plugintest.Must(f, f.Del(f.Context(), &again))
			}
			if diff := cmp.Diff(l, f.Link(f.Inside, "eth0")); diff != "" {
				f.Errorf("again as %s (-before +after):\n%s", id, diff)
			}
		}
		f.Detach(f, r)
		if h, err := f.Host.ByName("eth0"); err != nil || h.Kind != "veth" {
			f.Errorf("the host's eth0: %+v, %v", h, err)
		}
	})
}
