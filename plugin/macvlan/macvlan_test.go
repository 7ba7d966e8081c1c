package macvlan_test

import (
	"errors"
	"io/fs"
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
	netips  = cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})
	outside = []netip.Prefix{netip.MustParsePrefix("10.1.0.1/24"), netip.MustParsePrefix("fd00:1::1/64")}
)

// fixture is a host with the link eth1 to a network where another host is.
type fixture struct {
	*testing.T
	cni.Plugin
	host, inside *link.Handle
	outside, pod *netnstest.Pod
}

func on(t *testing.T, test func(f *fixture)) {
	t.Parallel() // most of the time is the kernel's, who asks whether others have an address
	netnstest.Host(t, func(t *testing.T) {
		plugintest.Need(t, "macvlan")
		f := &fixture{T: t, Plugin: macvlan.New(plugintest.Host(t)), host: plugintest.Links(t, nil), outside: plugintest.LAN(t, nil, "eth1")}
		f.pod = netnstest.NewPod(t, "pod1")
		f.inside = plugintest.Links(t, f.pod)
		test(f)
	})
}

func (f *fixture) request(conf string) *cni.Request {
	return plugintest.Request(f, conf, f.pod, "c1", finder)
}

func (f *fixture) add(r *cni.Request) link.Link {
	f.Helper()
	result, err := f.Plugin.Add(f.Context(), r)
	if err != nil {
		f.Fatalf("ADD %s: %v", r.Config.JSON, err)
	}
	r.Prev = result
	return f.link(r.IfName)
}

func (f *fixture) link(name string) link.Link {
	f.Helper()
	l, err := f.inside.ByName(name)
	if err != nil {
		f.Fatal(err)
	}
	return l
}

func (f *fixture) del(r *cni.Request) {
	f.Helper()
	if err := f.Del(f.Context(), r); err != nil {
		f.Errorf("DEL: %v", err)
	}
	if l, err := f.inside.ByName("eth0"); !errors.Is(err, fs.ErrNotExist) {
		f.Errorf("after DEL: %+v, %v", l, err)
	}
}

// wantError fails the test unless the error has the code and all the words.
func wantError(t *testing.T, what string, err error, code cni.Code, words ...string) {
	t.Helper()
	for _, w := range words {
		if err == nil || cni.CodeOf(err) != code || !strings.Contains(err.Error(), w) {
			t.Errorf("%s: %v, want code %d and %q", what, err, code, w)
		}
	}
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
	on(t, func(f *fixture) {
		other := plugintest.Links(f, f.outside)
		for _, p := range outside {
			if err := other.AddAddr(must(other.ByName("eth0")), link.Addr{Prefix: p, NoDAD: true}); err != nil {
				f.Fatal(err)
			}
		}
		r := f.request(dual)
		l := f.add(r)
		index := 0
		want := &cni.Result{
			Interfaces: []cni.Interface{{Name: "eth0", MAC: l.MAC, Sandbox: f.pod.Path}},
			IPs: []cni.IP{
				{Address: netip.MustParsePrefix("10.1.0.5/24"), Gateway: netip.MustParseAddr("10.1.0.1"), Interface: &index},
				{Address: netip.MustParsePrefix("fd00:1::5/64"), Gateway: netip.MustParseAddr("fd00:1::1"), Interface: &index},
			},
			Routes: []cni.Route{{Dst: netip.MustParsePrefix("192.0.2.0/24")}, {Dst: netip.MustParsePrefix("2001:db8:1::/48"), GW: netip.MustParseAddr("fd00:1::7"), MTU: 1300}},
			DNS:    cni.DNS{Nameservers: []string{"10.1.0.53"}},
		}
		if diff := cmp.Diff(want, r.Prev, netips, cmpopts.EquateEmpty()); diff != "" {
			f.Errorf("result (-want +got):\n%s", diff)
		}
		m, err := f.inside.Macvlan(l)
		if l.MTU != 1400 || !l.Up || l.Alias != "seam:net/c1/eth0" || l.Parent != must(f.host.ByName("eth1")).Index || m.Mode != "bridge" || m.BroadcastQueue != 3000 {
			f.Errorf("interface %+v, %+v, %v", l, m, err)
		}
		for _, key := range []string{"ipv4/conf/eth0/arp_notify", "ipv6/conf/eth0/ndisc_notify", "ipv6/conf/eth0/accept_dad", "ipv6/conf/eth0/keep_addr_on_down"} {
			if got := sysctl(f.T, f.pod, key); got != "1" {
				f.Errorf("%s is %s", key, got)
			}
		}
		for _, p := range outside {
			plugintest.Reach(f, f.pod, f.outside, p.Addr().String())
		}
		if err := f.Check(f.Context(), r); err != nil {
			f.Errorf("CHECK: %v", err)
		}
		f.del(r)

		taken := strings.Replace(dual, "fd00:1::5/64", "fd00:1::1/64", 1)
		_, err = cni.Add(f.Context(), f, f.request(taken))
		wantError(f.T, "an address that another host has", err, cni.CodeInternal, "fd00:1::1/64 of eth0: another host has it")
		if l, err := f.inside.ByName("eth0"); err == nil {
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
	on(t, func(f *fixture) {
		modes := []string{"bridge", "private", "vepa", "passthru", ""}
		for i, mode := range modes {
			r := f.request(strings.Replace(conf, `"master"`, `"mode":"`+mode+`","master"`, 1))
			l := f.add(r)
			if m := must(f.inside.Macvlan(l)); string(m.Mode) != mode && (mode != "" || m.Mode != "bridge") {
				f.Errorf("mode %q: %+v", mode, m)
			}
			if !l.Up || len(r.Prev.IPs) > 0 {
				f.Errorf("layer 2 only: %+v, %+v", l, r.Prev)
			}
			if err := f.Check(f.Context(), r); err != nil {
				f.Errorf("CHECK of mode %q: %v", mode, err)
			}
			other := *r
			other.Config.JSON = []byte(strings.Replace(conf, `"master"`, `"mode":"`+modes[(i+1)%4]+`","master"`, 1))
			wantError(f.T, "CHECK as another mode", f.Check(f.Context(), &other), cni.CodeInternal, "has mode")
			if mode == "passthru" {
				f.passthruIsAlone(r)
			}
			f.del(r)
		}
		_, err := f.Plugin.Add(f.Context(), f.request(strings.Replace(conf, `"master"`, `"mode":"Bridge","master"`, 1)))
		wantError(f.T, "an unknown mode", err, cni.CodeInvalidConfig, `mode "Bridge"`, "bridge, private, vepa or passthru")
	})
}

func (f *fixture) passthruIsAlone(r *cni.Request) {
	f.Helper()
	second := *r
	second.IfName, second.Prev = "eth5", nil
	_, err := cni.Add(f.Context(), f, &second)
	wantError(f.T, "a second one on a passthru's master", err, cni.CodeInternal, "passthru allows one")
	again := *r
	again.Prev = nil
	_, err = cni.Add(f.Context(), f, &again)
	wantError(f.T, "the same one again", err, cni.CodeExists, "eth0 is in the pod")
	f.link("eth0")
}

// TestMAC: the first of runtimeConfig, args, CNI_ARGS and the key.
func TestMAC(t *testing.T) {
	on(t, func(f *fixture) {
		for _, test := range []struct{ name, keys, args, want string }{
			{"key", `"mac":"02:00:00:00:00:01"`, "", "02:00:00:00:00:01"},
			{"CNI_ARGS before the key", `"mac":"02:00:00:00:00:01"`, "02:00:00:00:00:02", "02:00:00:00:00:02"},
			{"args before CNI_ARGS", `"mac":"02:00:00:00:00:01","args":{"cni":{"mac":"02:00:00:00:00:03"}}`, "02:00:00:00:00:02", "02:00:00:00:00:03"},
			{"runtimeConfig before all", `"mac":"02:00:00:00:00:01","runtimeConfig":{"mac":"02:00:00:00:00:04"}`, "02:00:00:00:00:02", "02:00:00:00:00:04"},
			{"with capitals", `"runtimeConfig":{"Mac":"02:00:00:00:00:05"}`, "", "02:00:00:00:00:05"},
		} {
			r := f.request(strings.Replace(conf, `"master"`, test.keys+`,"master"`, 1))
			if test.args != "" {
				r.Args = cni.Args{{Key: "MAC", Value: test.args}}
			}
			if l := f.add(r); l.MAC.String() != test.want {
				f.Errorf("%s: %s", test.name, l.MAC)
			}
			f.del(r)
		}
		_, err := f.Plugin.Add(f.Context(), f.request(strings.Replace(conf, `"master"`, `"mac":"01:00:00:00:00:01","master"`, 1)))
		wantError(f.T, "a group's address", err, cni.CodeInvalidConfig, "group address")
	})
}

// TestNames: the pod's interface may have a name that the host has too; one that is in the
// pod is refused and untouched, by the ADD and by the DEL of another attachment.
func TestNames(t *testing.T) {
	on(t, func(f *fixture) {
		if err := f.host.AddVeth(link.Veth{Name: "eth0", PeerName: "eth7"}); err != nil {
			f.Fatal(err)
		}
		r := f.request(conf)
		l := f.add(r)
		if l.Kind != "macvlan" {
			f.Errorf("%+v", l)
		}
		for _, id := range []string{"c1", "c2"} {
			again := *r
			again.ContainerID = id
			_, err := cni.Add(f.Context(), f, &again)
			wantError(f.T, "again as "+id, err, cni.CodeExists, "eth0 is in the pod")
			if id != "c1" {
				if err := f.Del(f.Context(), &again); err != nil {
					f.Error(err)
				}
			}
			if diff := cmp.Diff(l, f.link("eth0")); diff != "" {
				f.Errorf("again as %s (-before +after):\n%s", id, diff)
			}
		}
		f.del(r)
		if h, err := f.host.ByName("eth0"); err != nil || h.Kind != "veth" {
			f.Errorf("the host's eth0: %+v, %v", h, err)
		}
	})
}
