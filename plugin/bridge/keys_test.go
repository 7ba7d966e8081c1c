package bridge_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/bridge"
	"github.com/seamnet/seam/plugin/plugintest"
)

// ip runs ip(8) in the pod, on the host if that is nil.
func (f *fixture) ip(pod *netnstest.Pod, command string) string {
	f.Helper()
	return plugintest.Run(f, pod, "ip", strings.Fields(command)...)
}

// addrs returns the addresses of a link that are not the kernel's own, one a line.
func (f *fixture) addrs(link string) string {
	f.Helper()
	var b strings.Builder
	for line := range strings.Lines(f.ip(nil, "-o addr show dev "+link+" scope global")) {
		b.WriteString(strings.Fields(line)[3] + "\n")
	}
	return b.String()
}

func TestForceAddress(t *testing.T) {
	const only6 = `"ipam":{"type":"static","addresses":[{"address":"fd00:1::5/64"}]}`
	tests := []struct {
		name, has, ipam, force string // has: what the bridge has before
		want                   string // its addresses after; "": refused, and as before
	}{
		{"same", "10.1.0.1/24", ipam4, "false", "10.1.0.1/24\n"},
		{"another of IPv4", "192.0.2.1/24", ipam4, "false", ""},
		{"another of IPv4, forced", "192.0.2.1/24", ipam4, "true", "10.1.0.1/24\n"},
		{"another length", "10.1.0.1/16", ipam4, "false", ""},
		{"another length, forced", "10.1.0.1/16", ipam4, "true", "10.1.0.1/24\n"},
		{"overlapping of IPv6", "fd00:1::9/64", only6, "false", ""},
		{"overlapping of IPv6, forced", "fd00:1::9/64", ipam6, "true", "10.1.0.1/24\nfd00:1::1/64\n"},
		{"apart of IPv6", "fd00:9::9/64", ipam6, "false", "10.1.0.1/24\nfd00:1::1/64\nfd00:9::9/64\n"},
	}
	netnstest.Host(t, func(t *testing.T) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				f := setup(t)
				f.ip(nil, "link add br0 type bridge")
				f.ip(nil, "addr add "+tt.has+" dev br0")
				f.ip(nil, "link set br0 up")
				defer f.ip(nil, "link del br0")
				_, err := cni.Add(f.Context(), f.plugin, f.request(`"isGateway":true,"forceAddress":`+tt.force+`,`+tt.ipam))
				switch {
				case tt.want == "" && (cni.CodeOf(err) != cni.CodeInvalidConfig || !strings.Contains(err.Error(), "ip addr del "+tt.has+" dev br0")):
					t.Errorf("ADD: %v, want an error that says how to delete %s", err, tt.has)
				case tt.want != "" && err != nil:
					t.Errorf("ADD: %v", err)
				}
				want := tt.want
				if want == "" {
					want = tt.has + "\n"
				}
				if diff := cmp.Diff(sortedLines(want), sortedLines(f.addrs("br0"))); diff != "" {
					t.Errorf("addresses (-want +got):\n%s", diff)
				}
				if err := f.plugin.Del(context.Background(), f.request("")); err != nil {
					t.Error(err)
				}
			})
		}
	})
}

func sortedLines(s string) map[string]bool {
	lines := map[string]bool{}
	for line := range strings.Lines(s) {
		lines[line] = true
	}
	return lines
}

// TestNoBridge: a link of that name that is something else is refused and untouched.
func TestNoBridge(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		f.ip(nil, "link add br0 type veth peer name other")
		before := plugintest.State(t)
		_, err := cni.Add(f.Context(), f.plugin, f.request(`"isGateway":true,`+ipam4))
		if cni.CodeOf(err) != cni.CodeInvalidConfig || !strings.Contains(err.Error(), "br0 is a veth, not a bridge") {
			t.Errorf("ADD: %v", err)
		}
		if diff := cmp.Diff(before, plugintest.State(t)); diff != "" {
			t.Errorf("state (-before +after):\n%s", diff)
		}
	})
}

// TestWhoseMAC: runtimeConfig, args and CNI_ARGS go before one another in this order.
func TestWhoseMAC(t *testing.T) {
	const byRuntime, byArgs, byEnv = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"
	netnstest.Host(t, func(t *testing.T) {
		for _, tt := range []struct{ keys, env, want string }{
			{`"runtimeConfig":{"mac":"` + byRuntime + `"},"args":{"cni":{"mac":"` + byArgs + `"}}`, byEnv, byRuntime},
			{`"args":{"cni":{"mac":"` + byArgs + `"}}`, byEnv, byArgs},
			{"", byEnv, byEnv},
		} {
			f := setup(t)
			r := f.request(tt.keys)
			r.Args = cni.Args{{Key: "MAC", Value: tt.env}}
			result, err := f.plugin.Add(f.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if got := result.Interfaces[2].MAC.String(); got != tt.want || !strings.Contains(f.ip(f.pod, "link show eth0"), tt.want) {
				t.Errorf("%s: MAC address %s, want %s", tt.keys, got, tt.want)
			}
			if err := f.plugin.Del(f.Context(), r); err != nil {
				t.Error(err)
			}
			f.ip(nil, "netns del pod1")
		}
		f := setup(t)
		r := f.request("")
		r.Args = cni.Args{{Key: "mac", Value: byEnv}} // keys are written in capitals
		if _, err := f.plugin.Add(f.Context(), r); cni.CodeOf(err) != cni.CodeInvalidEnvironment {
			t.Errorf("unknown key in CNI_ARGS: %v, want code %d", err, cni.CodeInvalidEnvironment)
		}
	})
}

// TestMTU is of both ends of the veth, and of a bridge that is made.
func TestMTU(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		f.add(`"mtu":1400`)
		for link, pod := range map[string]*netnstest.Pod{"br0": nil, plugin.HostName(f.request("").Tag()): nil, "eth0": f.pod} {
			if got := f.ip(pod, "link show "+link); !strings.Contains(got, "mtu 1400 ") {
				t.Errorf("want mtu 1400 in: %s", got)
			}
		}
	})
}

// TestMTUTooSmall: what the kernel says of one does not name it, or is about something else.
func TestMTUTooSmall(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		for keys, want := range map[string]string{
			`"mtu":60,` + ipam4:                   "mtu 60",
			`"mtu":500,` + ipam6:                  "mtu 500: eth0 can have no IPv6 addresses, which need 1280",
			`"mtu":500,"isGateway":true,` + ipam6: "add address fd00:1::1/64 to br0: invalid argument: its mtu is 500, and IPv6 needs 1280",
		} {
			if _, err := cni.Add(f.Context(), f.plugin, f.request(keys)); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", keys, err, want)
			}
			plugintest.Try(nil, "ip", "link", "del", "br0")
		}
	})
}

// TestBridgeMAC: a bridge that Seam made keeps its MAC address over the coming and going
// of ports, or pods would lose their gateway. One of someone else's changes it with its
// first port, and the result has the new one.
func TestBridgeMAC(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		for _, foreign := range []bool{false, true} {
			f := setup(t)
			if foreign {
				f.ip(nil, "link add br0 type bridge")
			}
			mac := func() string { return strings.Fields(f.ip(nil, "-o link show br0 up"))[16] }
			result := f.add(`"isGateway":true,` + ipam4)
			first := mac()
			if got := result.Interfaces[0].MAC.String(); got != first {
				t.Errorf("foreign %t: bridge's MAC address in the result is %s, want %s", foreign, got, first)
			}
			if !foreign {
				// The lowest address of its ports would be the bridge's.
				f.ip(nil, "link add low address 02:00:00:00:00:01 type veth peer name other")
				f.ip(nil, "link set low master br0 up")
				if got := mac(); got != first {
					t.Errorf("MAC address changed from %s to %s", first, got)
				}
			}
			if err := f.plugin.Del(f.Context(), f.request("")); err != nil {
				t.Error(err)
			}
			f.ip(nil, "netns del pod1")
			f.ip(nil, "link del br0")
		}
	})
}

// TestPodWithoutIPv6: runtimes hand over namespaces in which IPv6 is switched off.
func TestPodWithoutIPv6(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		for _, of := range []string{"all", "default"} {
			plugintest.Run(t, f.pod, "sysctl", "-qw", "net.ipv6.conf."+of+".disable_ipv6=1")
		}
		f.add(`"isDefaultGateway":true,` + ipam6)
		plugintest.Run(t, f.pod, "ping", "-c3", "-i0.2", "-W2", "fd00:1::1")
		if got := f.sysctl(f.pod, "ipv6/conf/lo/disable_ipv6"); got != "0" {
			t.Errorf("IPv6 is off on lo: %s", got)
		}
	})
}

// TestDuplicateAddress: with enabledad an address that another pod has is found out, and
// nothing is left of the attempt.
func TestDuplicateAddress(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		f.add(`"isGateway":true,` + ipam6)
		before := plugintest.State(t)
		second := plugintest.Request(t, conf(`"enabledad":true,"isGateway":true,`+ipam6), netnstest.NewPod(t, "pod2"), "c2", finder)
		_, err := cni.Add(f.Context(), f.plugin, second)
		if !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "fd00:1::5/64 of eth0: another host has it") {
			t.Errorf("ADD: %v", err)
		}
		if diff := cmp.Diff(before, plugintest.State(t)); diff != "" {
			t.Errorf("state (-before +after):\n%s", diff)
		}
	})
}

// TestRoutesBesideOneAnother: several gateways to one destination, in both families, with
// all that a route can have.
func TestRoutesBesideOneAnother(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		keys := `"isGateway":true,"ipam":{"type":"static","addresses":[{"address":"10.1.0.5/24"},{"address":"fd00:1::5/64"}],"routes":[
			{"dst":"192.0.2.0/24","gw":"10.1.0.1"},{"dst":"192.0.2.0/24","gw":"10.1.0.2"},{"dst":"192.0.2.0/24","gw":"10.1.0.2"},
			{"dst":"2001:db8::/32","gw":"fd00:1::1"},{"dst":"2001:db8::/32","gw":"fd00:1::2"},
			{"dst":"198.51.100.0/24","mtu":1300,"advmss":1200,"priority":7},{"dst":"203.0.113.0/24","table":99,"scope":253}]}`
		r := f.request(keys)
		result, err := f.plugin.Add(f.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(strings.Fields(f.ip(f.pod, "route show table all type unicast dev eth0")+f.ip(f.pod, "-6 route show 2001:db8::/32")), " ")
		for _, want := range []string{
			"192.0.2.0/24 via 10.1.0.1", "192.0.2.0/24 via 10.1.0.2", "via fd00:1::1", "via fd00:1::2",
			"198.51.100.0/24 via 10.1.0.1 metric 7 mtu 1300 advmss 1200", "203.0.113.0/24 table 99 scope link",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("want %q in %s", want, got)
			}
		}
		r.Prev = result
		if err := f.plugin.Check(f.Context(), r); err != nil {
			t.Errorf("CHECK: %v", err)
		}
	})
}

// TestAddsAtOnce: several find that the bridge is missing, as processes do, each with
// sockets of its own.
func TestAddsAtOnce(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		const workers, rounds = 6, 10
		var requests [workers]*cni.Request
		var plugins [workers]cni.Plugin
		for i := range workers {
			id := fmt.Sprintf("many%d", i)
			keys := fmt.Sprintf(`"isGateway":true,"ipMasq":true,"ipam":{"type":"static","addresses":[{"address":"10.1.0.%d/24"}]}`, i+10)
			requests[i] = plugintest.Request(t, conf(keys), netnstest.NewPod(t, id), id, finder)
			plugins[i] = bridge.New(plugintest.Host(t))
		}
		atOnce := func(do func(i int) error) {
			var group sync.WaitGroup
			for i := range workers {
				group.Go(func() {
					if err := do(i); err != nil {
						t.Error(err)
					}
				})
			}
			group.Wait()
		}
		for range rounds {
			atOnce(func(i int) (err error) {
				requests[i].Prev = nil
				requests[i].Prev, err = cni.Add(f.Context(), plugins[i], requests[i])
				return err
			})
			atOnce(func(i int) error { return plugins[i].Check(f.Context(), requests[i]) })
			if diff := cmp.Diff("10.1.0.1/24\n", f.addrs("br0")); diff != "" {
				t.Errorf("addresses (-want +got):\n%s", diff)
			}
			atOnce(func(i int) error { return plugins[i].Del(f.Context(), requests[i]) })
			f.ip(nil, "link del br0")
		}
	})
}

// TestInterfacesOfOnePod: two on one network, of which one goes.
func TestInterfacesOfOnePod(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		keys := `"isDefaultGateway":true,"ipMasq":true,"macspoofchk":true,` + ipam4
		first := f.request(keys)
		first.Prev = f.add(keys)
		before := plugintest.State(t)
		second := f.request(strings.Replace(keys, "10.1.0.5", "10.1.0.6", 1))
		second.IfName = "eth1"
		if _, err := f.plugin.Add(f.Context(), second); err != nil {
			t.Fatal(err)
		}
		if err := f.plugin.Del(f.Context(), second); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(before, plugintest.State(t)); diff != "" {
			t.Errorf("state (-before +after):\n%s", diff)
		}
		if err := f.plugin.Check(f.Context(), first); err != nil {
			t.Errorf("CHECK of the one that stays: %v", err)
		}
	})
}

// FuzzConfig holds that any configuration is refused with a code of the specification, or
// is one that CHECK and DEL can read too.
func FuzzConfig(f *testing.F) {
	for _, keys := range []string{`"mtu":-1`, `"vlan":5000`, `"vlanTrunk":[{"minID":9,"maxID":5},{"id":0}]`, `"bridge":"a/b"`, ipam6, `"runtimeConfig":{"mac":7}`} {
		f.Add([]byte(conf(keys)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !json.Valid(data) {
			return
		}
		b := &bridge.Config{Bridge: "cni0"}
		r := &cni.Request{Config: cni.Config{Name: "net", Type: "bridge", JSON: data}}
		err := r.Decode(b)
		if code := cni.CodeOf(err); err != nil && code != cni.CodeDecoding && code != cni.CodeInvalidConfig {
			t.Errorf("%v: code %d", err, code)
		}
		if err == nil && (cni.CheckIfName(b.Bridge) != nil || b.MTU < 0 || b.VLAN > 4094 || b.HairpinMode && b.PromiscMode) {
			t.Errorf("taken: %+v", b)
		}
	})
}
