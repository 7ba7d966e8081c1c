package cnm_test

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/seamnet/seam/cni"
	docker "github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/cnm"
	"github.com/seamnet/seam/plugin/plugintest"
	"github.com/seamnet/seam/plugin/static"
	"golang.org/x/sys/unix"
)

// A fixture is the plugin with a driver called bricks.
type fixture struct {
	*plugintest.Fixture
	host   *plugin.Host
	driver *plugintest.Driver
}

func setup(t *testing.T) *fixture {
	t.Helper()
	host := plugintest.Host(t)
	return &fixture{
		plugintest.New(t, cnm.New(host), cni.Registry{"static": static.New()}), host, plugintest.NewDriver(t, "bricks"),
	}
}

// conf returns a configuration with the driver and the keys.
func (f *fixture) conf(keys string) string {
	all := `"driver":"bricks","pluginDirs":["` + f.driver.Dir + `"]`
	if keys != "" {
		all += "," + keys
	}
	return plugintest.Conf("cnm", all)
}

// own lets the driver's IPAM give the addresses.
const own = `"ipamDriver":"bricks"`

// gc collects all but the valid attachments.
func (f *fixture) gc(r *cni.Request, valid ...cni.Attachment) error {
	gc := *r
	gc.Attachment, gc.NetNS, gc.Prev, gc.Valid = cni.Attachment{Network: r.Network}, "", nil, append([]cni.Attachment{}, valid...)
	return f.GC(f.Context(), &gc)
}

// nothing fails the test if the driver has anything, or the plugin notes anything.
func (f *fixture) nothing(when string) {
	f.Helper()
	if has := f.driver.Has(); len(has) > 0 {
		f.Errorf("%s: the driver has %q", when, has)
	}
	if files, _ := os.ReadDir(f.host.Dirs.Drivers); len(files) > 0 {
		f.Errorf("%s: noted: %v", when, files)
	}
	if links := plugintest.Run(f, nil, "ip", "-br", "link"); strings.Count(links, "\n") != 1 {
		f.Errorf("%s: links:\n%s", when, links)
	}
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }

var connected = unix.RT_SCOPE_LINK

// routes are those of the driver, to what is on the link, behind a gateway, and all else.
func routes(gateways ...string) (list []cni.Route) {
	list = append(list, cni.Route{Dst: prefix("198.51.100.0/24"), Scope: &connected})
	for _, g := range gateways {
		if addr(g).Is4() {
			list = append(list, cni.Route{Dst: prefix("203.0.113.0/24"), GW: addr(g)})
		}
	}
	for _, g := range gateways {
		dst := "0.0.0.0/0"
		if addr(g).Is6() {
			dst = "::/0"
		}
		list = append(list, cni.Route{Dst: prefix(dst), GW: addr(g)})
	}
	return list
}

// TestAddresses: whoever gives the addresses, the result and the pod's interface have them,
// the gateway is reached, CHECK is content, and DEL and GC leave nothing.
func TestAddresses(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		for _, test := range []struct {
			name, keys string
			args       cni.Args
			chooses    string   // the driver, where it is told nothing
			addresses  []string // with gateways
			gateways   []string
			calls      string
		}{{
			name: "own IPAM, any subnet", keys: own,
			addresses: []string{"10.99.0.2/24"}, gateways: []string{"10.99.0.1"},
			calls: "RequestPool,RequestAddress gateway,CreateNetwork,RequestAddress,CreateEndpoint,Join,Program",
		}, {
			name: "own IPAM, both families", keys: own + `,"subnets":["10.1.0.0/16","fd00:1::/64"],"ipRange":"10.1.7.0/24","gateway":"10.1.0.9","auxAddresses":{"printer":"10.1.0.8"}`,
			addresses: []string{"10.1.7.1/16", "fd00:1::2/64"}, gateways: []string{"10.1.0.9", "fd00:1::1"},
		}, {
			name: "own IPAM, IPv6 alone", keys: own + `,"subnet":"fd00:1::/64"`,
			addresses: []string{"fd00:1::2/64"}, gateways: []string{"fd00:1::1"},
		}, {
			name: "own IPAM, IPv6 beside", keys: own + `,"ipv6":true`,
			addresses: []string{"10.99.0.2/24", "fd00:99::2/64"}, gateways: []string{"10.99.0.1", "fd00:99::1"},
		}, {
			name: "own IPAM, asked by ips", keys: own + `,"runtimeConfig":{"ips":["10.99.0.77"]}`,
			addresses: []string{"10.99.0.77/24"}, gateways: []string{"10.99.0.1"},
		}, {
			name: "own IPAM, asked by CNI_ARGS", keys: own, args: cni.Args{{Key: "IP", Value: "10.99.0.78/24"}},
			addresses: []string{"10.99.0.78/24"}, gateways: []string{"10.99.0.1"},
		}, {
			name: "CNI's IPAM", keys: `"ipam":{"type":"static","addresses":[{"address":"10.2.0.5/24","gateway":"10.2.0.1"},{"address":"fd00:2::5/64","gateway":"fd00:2::1"}]}`,
			addresses: []string{"10.2.0.5/24", "fd00:2::5/64"}, gateways: []string{"10.2.0.1", "fd00:2::1"},
			calls: "CreateNetwork,CreateEndpoint,Join,Program",
		}, {
			name: "CNI's IPAM, wider subnet", keys: `"subnet":"10.2.0.0/16","gateway":"10.2.0.1","ipam":{"type":"static","addresses":[{"address":"10.2.9.5/16"}]}`,
			addresses: []string{"10.2.9.5/16"}, gateways: []string{"10.2.0.1"},
		}, {
			name: "the driver", chooses: "10.3.0.5/24",
			addresses: []string{"10.3.0.5/24"},
			calls:     "CreateNetwork,CreateEndpoint,Join",
		}, {
			name: "the driver, asked", keys: `"args":{"cni":{"ips":["10.3.0.9/24"]}}`,
			addresses: []string{"10.3.0.9/24"},
		}, {
			name: "nobody",
		}} {
			t.Run(test.name, func(t *testing.T) {
				f := setup(t)
				if test.chooses != "" {
					f.driver.Chooses = prefix(test.chooses)
				}
				r := f.Request(f.conf(test.keys))
				r.Args = test.args
				l := f.Attach(f, r)
				zero := 0
				want := &cni.Result{Routes: routes(test.gateways...)}
				for i, a := range test.addresses {
					ip := cni.IP{Address: prefix(a), Interface: &zero}
					if i < len(test.gateways) {
						ip.Gateway = addr(test.gateways[i])
					}
					want.IPs = append(want.IPs, ip)
				}
				plugintest.WantResult(t, "ADD", want, r.Prev, cmpopts.IgnoreFields(cni.Result{}, "Interfaces"), cmpopts.EquateEmpty())
				if calls := strings.Join(f.driver.Calls(), ","); test.calls != "" && calls != test.calls {
					t.Errorf("calls %s, want %s", calls, test.calls)
				}
				if l.MAC.String() != "02:42:01:02:03:01" || !l.Up || l.Alias != "seam:net/c1/eth0" {
					t.Errorf("interface %+v", l)
				}
				if i := r.Prev.Interfaces; len(i) != 2 || i[0].Name != "eth0" || i[0].Sandbox != f.Pod.Path || i[1].Name[:2] != "do" || i[1].Sandbox != "" {
					t.Errorf("interfaces %+v", i)
				}
				for _, a := range test.addresses {
					if !strings.Contains(f.IP("-br addr show eth0"), " "+a+" ") {
						t.Errorf("%s is not there:\n%s", a, f.IP("addr"))
					}
				}
				for _, g := range test.gateways {
					plugintest.Run(t, f.Pod, "ping", "-c1", "-W2", g)
				}
				f.Passes(r)
				f.DetachTwice(r)
				if err := f.gc(r); err != nil {
					t.Errorf("GC: %v", err)
				}
				f.nothing("after GC")
			})
		}
	})
}

// TestTold: what the configuration and the runtime say reaches the driver in its words.
func TestTold(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		f.driver.MAC = true
		r := f.Request(f.conf(own + `,"subnet":"10.1.0.0/24","auxAddresses":{"printer":"10.1.0.8"},"options":{"mode":"fast"},"driverOpts":{"a":"1","b":"2"},"mtu":1400,
			"args":{"cni":{"driverOpts":{"b":"3"}}},"dns":{"nameservers":["10.1.0.53"],"search":["example.org"]},
			"runtimeConfig":{"mac":"02:00:00:00:00:07","portMappings":[{"hostPort":8080,"containerPort":80},
			{"hostPort":5353,"containerPort":53,"protocol":"UDP","hostIP":"192.0.2.1"},{"hostPort":8081,"containerPort":80}]}`))
		l := f.Attach(f, r)
		if l.MAC.String() != "02:00:00:00:00:07" || l.MTU != 1400 {
			t.Errorf("interface %+v", l)
		}
		n := f.driver.Network()
		wantNetwork := &docker.Network{
			ID: n.ID, Options: map[string]string{"mode": "fast"},
			Pools: []docker.AddressPool{{Space: "bricksLocal", Subnet: prefix("10.1.0.0/24"), Gateway: prefix("10.1.0.1/24"), Aux: map[string]netip.Prefix{"printer": prefix("10.1.0.8/24")}}},
		}
		compare := cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})
		if diff := cmp.Diff(wantNetwork, n, compare); diff != "" || len(n.ID) != 64 {
			t.Errorf("network %s (-want +got):\n%s", n.ID, diff)
		}
		web, dns := docker.Port{Protocol: "tcp", Number: 80}, docker.Port{Protocol: "udp", Number: 53}
		ports := []docker.PortBinding{{Port: web, HostPort: 8080}, {Port: dns, HostIP: addr("192.0.2.1"), HostPort: 5353}, {Port: web, HostPort: 8081}}
		e := f.driver.Endpoint()
		wantEndpoint := &docker.Endpoint{
			Network: n.ID, ID: e.ID, Name: "eth0",
			Interface: docker.Interface{Addresses: []netip.Prefix{prefix("10.1.0.2/24")}, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 7}},
			Ports:     ports, Exposed: []docker.Port{web, dns}, DNS: []netip.Addr{addr("10.1.0.53")}, Options: map[string]string{"a": "1", "b": "3"},
		}
		if diff := cmp.Diff(wantEndpoint, e, compare); diff != "" || len(e.ID) != 64 {
			t.Errorf("endpoint %s (-want +got):\n%s", e.ID, diff)
		}
		wantJoin := &docker.Join{Network: n.ID, Endpoint: e.ID, Ports: ports, Exposed: []docker.Port{web, dns}}
		if diff := cmp.Diff(wantJoin, f.driver.Published(), compare); diff != "" {
			t.Errorf("published (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(cni.DNS{Nameservers: []string{"10.1.0.53"}, Search: []string{"example.org"}}, r.Prev.DNS); diff != "" {
			t.Errorf("DNS (-want +got):\n%s", diff)
		}
		f.Detach(f, r)
		if calls := f.driver.Calls(); !slices.Equal(calls[len(calls)-4:], []string{"Revoke", "Leave", "DeleteEndpoint", "ReleaseAddress"}) {
			t.Errorf("calls %q", calls)
		}
	})
}

// TestInternal: a network without a way out has no default route, and publishes nothing.
func TestInternal(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		r := f.Request(f.conf(own + `,"internal":true`))
		f.Attach(f, r)
		if !f.driver.Network().Internal || f.driver.Published() != nil || strings.Contains(f.IP("route"), "default") {
			t.Errorf("%+v, %v\n%s", f.driver.Network(), f.driver.Published(), f.IP("route"))
		}
		f.Passes(r)
		f.Detach(f, r)
	})
}

// TestNullInterface: of a driver that sets the namespace up itself, the result tells what is
// there, with the gateway that it left to its engine.
func TestNullInterface(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		f.driver.Null = true
		r := f.Request(f.conf(own + `,"ipv6":true`))
		f.Attach(f, r)
		zero := 0
		want := &cni.Result{
			IPs: []cni.IP{
				{Address: prefix("10.99.0.2/24"), Gateway: addr("10.99.0.1"), Interface: &zero},
				{Address: prefix("fd00:99::2/64"), Gateway: addr("fd00:99::1"), Interface: &zero},
			},
			Routes: []cni.Route{{Dst: prefix("0.0.0.0/0"), GW: addr("10.99.0.1")}, {Dst: prefix("::/0"), GW: addr("fd00:99::1")}},
		}
		plugintest.WantResult(t, "null", want, r.Prev, cmpopts.IgnoreFields(cni.Result{}, "Interfaces"))
		if i := r.Prev.Interfaces; len(i) != 2 || i[0].Name != "eth0" || i[0].MAC == nil {
			t.Errorf("interfaces %+v", i)
		}
		plugintest.Run(t, f.Pod, "ping", "-c1", "-W2", "10.99.0.1")
		f.Passes(r)
		f.DetachTwice(r)
		if err := f.gc(r); err != nil {
			t.Error(err)
		}
		f.nothing("after GC")
	})
}

// TestNetworkOnce: the network is made by the first attachment, serves all, stays after the
// last, and goes with GC; a network that was changed is made anew when it is not in use.
func TestNetworkOnce(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		r := f.Request(f.conf(own))
		f.Attach(f, r)
		other := netnstest.NewPod(t, "pod2")
		second := plugintest.Request(t, f.conf(own), other, "c2", f.Plugins)
		result, err := f.Add(t.Context(), second)
		plugintest.Must(t, err)
		if result.IPs[0].Address != prefix("10.99.0.3/24") {
			t.Errorf("second: %v", result.IPs)
		}
		plugintest.Reach(t, f.Pod, other, "10.99.0.3")
		changed := f.Request(f.conf(own + `,"options":{"mode":"fast"}`))
		changed.ContainerID, changed.NetNS = "c3", netnstest.NewPod(t, "pod3").Path
		f.Refuses("changed", changed, cni.CodeInvalidConfig, `network "net": its configuration was changed, and 2 containers are attached`, "detach them first")
		f.Passes(r)

		plugintest.Must(t, f.gc(r, second.Attachment))
		if has := f.driver.Has(); len(has) != 7 || slices.Contains(has, "address 10.99.0.2") {
			t.Errorf("after GC of the first: %q", has)
		}
		plugintest.Must(t, f.Del(t.Context(), second))
		if n := f.driver.Network(); n == nil {
			t.Error("the network went with its last endpoint")
		}
		_, err = f.Add(t.Context(), changed)
		plugintest.Must(t, err)
		if n := f.driver.Network(); n.Options["mode"] != "fast" {
			t.Errorf("network %+v", n)
		}
		if calls := f.driver.Calls(); strings.Count(strings.Join(calls, ","), "CreateNetwork") != 2 {
			t.Errorf("calls %q", calls)
		}
		plugintest.Must(t, f.gc(r))
		f.nothing("after GC")
	})
}

// TestAgain: what is attached is not attached again, nor harmed.
func TestAgain(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		r := f.Request(f.conf(own))
		f.Attach(f, r)
		f.Refuses("again", r, cni.CodeExists, "interface eth0 is in the pod")
		other := f.Request(strings.Replace(f.conf(own), `"net"`, `"net2"`, 1))
		f.Refuses("another network", other, cni.CodeExists, "interface eth0 is in the pod")
		plugintest.Must(t, f.Del(t.Context(), other))
		f.Passes(r)
		f.Detach(f, r)
	})
}

// TestCheck finds what was changed, and a driver that forgot.
func TestCheck(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		r := f.Request(f.conf(own))
		f.Attach(f, r)
		f.IP("addr del 10.99.0.2/24 dev eth0")
		f.Finds(r, "address 10.99.0.2/24 of eth0 is gone", "route 0.0.0.0/0 via 10.99.0.1 over eth0 is gone")
		f.IP("link set eth0 down")
		f.IP("link set eth0 alias other")
		f.Finds(r, "interface eth0 is down", "interface eth0 is not the driver's")
		f.driver.Forget()
		f.Finds(r, "driver bricks: NetworkDriver.EndpointOperInfo: no such endpoint")
		f.driver.Stop()
		f.Finds(r, "driver bricks", "start the driver")
		plugintest.Must(t, os.RemoveAll(f.host.Dirs.Drivers))
		f.Finds(r, "nothing is noted of the attachment")
	})
}

// TestStatus: without the drivers, or with one that cannot serve one host alone, the network
// is not available.
func TestStatus(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		r := f.Request(f.conf(own))
		plugintest.Must(t, f.Status(t.Context(), r))
		f.driver.Scope = docker.ScopeGlobal
		plugintest.WantError(t, "global", f.Status(t.Context(), r), cni.CodeNotAvailable, "driver bricks: its networks span a swarm")
		f.Refuses("global", r, cni.CodeInvalidConfig, "driver bricks: its networks span a swarm (scope global)", "name a driver whose scope is local")
		f.driver.Scope = ""
		lost := f.Request(f.conf(`"ipamDriver":"mortar"`))
		plugintest.WantError(t, "no IPAM driver", f.Status(t.Context(), lost), cni.CodeNotAvailable, "driver mortar: no socket")
		f.Refuses("no IPAM driver", lost, cni.CodeInternal, "driver mortar: no socket")
		f.driver.Stop()
		plugintest.WantError(t, "no driver", f.Status(t.Context(), r), cni.CodeNotAvailable, "driver bricks: no socket")
		f.Refuses("no driver", r, cni.CodeInternal, "driver bricks: no socket")
		f.nothing("after it")
	})
}
