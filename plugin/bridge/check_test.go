package bridge_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin"
)

// TestCheckTolerates: what later plugins of a chain may have changed.
func TestCheckTolerates(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		keys := `"isDefaultGateway":true,"ipMasq":true,` + ipam4
		r := f.request(keys)
		r.Prev = f.add(keys)
		for what, do := range map[string]func(){
			"routes in a table of their own (sbr)": func() {
				for _, dst := range []string{"default", "192.0.2.0/24"} {
					f.ip(f.pod, "route del "+dst)
					f.ip(f.pod, "route add "+dst+" via 10.1.0.1 dev eth0 table 100")
				}
				f.ip(f.pod, "rule add from 10.1.0.5 table 100")
			},
			"another MAC address, which the result tells (tuning)": func() {
				f.ip(f.pod, "link set eth0 address 02:00:00:00:00:77")
				r.Prev.Interfaces[2].MAC = []byte{2, 0, 0, 0, 0, 0x77}
			},
			"another MTU": func() { f.ip(f.pod, "link set eth0 mtu 1300") },
			"more addresses and routes": func() {
				f.ip(f.pod, "addr add 172.20.0.2/16 dev eth0")
				f.ip(f.pod, "route add 198.51.100.0/24 via 10.1.0.1")
			},
			"an interface of another plugin in the result": func() {
				r.Prev.Interfaces = append(r.Prev.Interfaces, cni.Interface{Name: "ifb0"})
				three := 3
				r.Prev.IPs = append(r.Prev.IPs, cni.IP{Address: netip.MustParsePrefix("192.0.2.77/32"), Interface: &three})
			},
		} {
			do()
			if err := f.plugin.Check(f.Context(), r); err != nil {
				t.Errorf("after %s: %v", what, err)
			}
		}
	})
}

// TestCheckFindsSwitches: what TestCheckFinds cannot have at the same time.
func TestCheckFindsSwitches(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		keys := `"promiscMode":true,"portIsolation":true`
		r := f.request(keys)
		r.Prev = f.add(keys)
		veth := plugin.HostName(r.Tag())
		for _, tt := range []struct{ off, on, want string }{
			{"link set br0 promisc off", "link set br0 promisc on", "br0: is not promiscuous"},
			{"link set " + veth + " type bridge_slave isolated off", "link set " + veth + " type bridge_slave isolated on", veth + ": is not isolated"},
			{"link set " + veth + " down", "link set " + veth + " up", veth + ": is down"},
		} {
			f.ip(nil, tt.off)
			if err := f.plugin.Check(f.Context(), r); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("after %q: %v, want %q", tt.off, err, tt.want)
			}
			f.ip(nil, tt.on)
		}
		if err := f.plugin.Check(f.Context(), r); err != nil {
			t.Error(err)
		}
	})
}
