package docker

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cnm"
)

const inline = `{"cniVersion": "1.1.0", "name": "in", "plugins": [{"type": "bridge"}]}`

func TestParseOptions(t *testing.T) {
	const bridge = "com.docker.network.bridge."
	tests := []struct {
		name string
		in   map[string]string
		want *options
		err  string // part of it
	}{
		{name: "nothing", want: &options{link: linkOptions{kind: kindBridge}}},
		{name: "of the host", in: map[string]string{"seam.network": "prod", "seam.bandwidth": "ingress=10M", "seam.args": "A=1"},
			want: &options{Network: "prod", Defaults: seam.Wishes{
				Bandwidth: cni.Bandwidth{IngressRate: 10e6, IngressBurst: 1e6}, Args: cni.Args{{Key: "A", Value: "1"}}}}},
		{name: "inline", in: map[string]string{"seam.conflist": inline}, want: &options{Conflist: []byte(inline)}},
		{name: "of Docker's bridge driver", in: map[string]string{
			"com.docker.network.driver.mtu": "1400", bridge + "name": "br0", bridge + "enable_icc": "false", bridge + "enable_ip_masquerade": "0",
			bridge + "host_binding_ipv4": "127.0.0.1", bridge + "default_bridge": "true", "com.docker.network.container_iface_prefix": "net",
		}, want: &options{HostIP: netip.MustParseAddr("127.0.0.1"), IfPrefix: "net", link: linkOptions{
			kind: kindBridge, mtu: 1400, bridge: "br0", neighbours: new(false), masq4: new(false), masq6: new(false)}}},
		{name: "modes of a gateway before masquerading", in: map[string]string{bridge + "gateway_mode_ipv6": "routed", "seam.ipmasq": "true"},
			want: &options{link: linkOptions{kind: kindBridge, masq4: new(true), masq6: new(false)}}},
		{name: "isolated", in: map[string]string{bridge + "gateway_mode_ipv4": "isolated", bridge + "inhibit_ipv4": "true"},
			want: &options{link: linkOptions{kind: kindBridge, isolated: true, gateway: new(false)}}},
		{name: "of the macvlan driver", in: map[string]string{"parent": "eth0", "macvlan_mode": "private"},
			want: &options{link: linkOptions{kind: kindMacvlan, master: "eth0", mode: "private"}}},
		{name: "of either driver", in: map[string]string{"parent": "eth0"}, want: &options{link: linkOptions{kind: kindMacvlan, master: "eth0"}}},
		{name: "of the ipvlan driver", in: map[string]string{"parent": "eth0", "ipvlan_mode": "l3", "ipvlan_flag": "bridge"},
			want: &options{link: linkOptions{kind: kindIpvlan, master: "eth0", mode: "l3"}}},
		{name: "own words", in: map[string]string{"seam.type": "ipvlan", "seam.master": "eth0", "seam.parent": "eth0", "seam.ipam": "dhcp", "com.example": "x"},
			want: &options{link: linkOptions{kind: kindIpvlan, master: "eth0", ipam: []byte(`{"type":"dhcp"}`)}}},
		{name: "section ipam", in: map[string]string{"seam.ipam": ` {"type": "x", "k": 1}`, "seam.vlan": "7"},
			want: &options{link: linkOptions{kind: kindBridge, vlan: 7, ipam: []byte(`{"type": "x", "k": 1}`)}}},

		{name: "mistyped", in: map[string]string{"seam.netwrok": "prod"}, err: "-o seam.netwrok: unknown; seam.network is meant, perhaps"},
		{name: "unknown", in: map[string]string{"seam.frobnicate": "1"}, err: "-o seam.frobnicate: unknown; known are seam.args, seam.bandwidth, "},
		{name: "two sources", in: map[string]string{"seam.network": "prod", "seam.conflist": inline}, err: "exclude one another"},
		{name: "key of a generated network", in: map[string]string{"seam.network": "prod", bridge + "name": "br0"}, err: "-o com.docker.network.bridge.name is for networks that are made of options"},
		{name: "key of another type", in: map[string]string{"seam.type": "ptp", "parent": "eth0"}, err: "-o parent has no meaning for a network of type ptp, only for macvlan, ipvlan"},
		{name: "keys of two drivers", in: map[string]string{"macvlan_mode": "bridge", "ipvlan_mode": "l2"}, err: `-o macvlan_mode=bridge: another key says "l2"`},
		{name: "names that differ", in: map[string]string{"seam.bridge": "a", bridge + "name": "b"}, err: `-o seam.bridge=a: another key says "b"`},
		{name: "name of a network", in: map[string]string{"seam.network": "../prod"}, err: `-o seam.network=../prod: network name "../prod"`},
		{name: "empty name", in: map[string]string{"seam.network": ""}, err: "missing network name"},
		{name: "no JSON", in: map[string]string{"seam.conflist": "{"}, err: "-o seam.conflist={: network configuration"},
		{name: "long value", in: map[string]string{"seam.args": strings.Repeat("x", 61)}, err: "-o seam.args: CNI_ARGS: "},
		{name: "no plugins", in: map[string]string{"seam.conflist": `{"name": "x"}`}, err: `no "plugins"`},
		{name: "type", in: map[string]string{"seam.type": "vlan"}, err: "none of bridge, macvlan, ipvlan, ptp; for other plugins give a configuration with -o seam.conflist"},
		{name: "mode", in: map[string]string{"macvlan_mode": "l2"}, err: `mode "l2": macvlan has bridge, private, vepa, passthru`},
		{name: "flag", in: map[string]string{"ipvlan_flag": "private"}, err: "-o ipvlan_flag=private: "},
		{name: "MTU", in: map[string]string{"seam.mtu": "-1"}, err: "-o seam.mtu=-1: must be 0"},
		{name: "VLAN", in: map[string]string{"seam.vlan": "4095"}, err: "must be 1 to 4094"},
		{name: "flag that is none", in: map[string]string{"seam.ipmasq": "maybe"}, err: "-o seam.ipmasq=maybe: must be true or false"},
		{name: "bridge's name", in: map[string]string{"seam.bridge": "sixteen-letters-"}, err: "longer than 15 bytes"},
		{name: "prefix", in: map[string]string{"seam.ifprefix": "thirteen-long"}, err: "longer than 12 bytes"},
		{name: "address", in: map[string]string{"seam.hostip": "host"}, err: "not an IP address"},
		{name: "bandwidth", in: map[string]string{"seam.bandwidth": "10M"}, err: `-o seam.bandwidth=10M: "10M": "10M" is none of ingress`},
		{name: "gateway mode", in: map[string]string{bridge + "gateway_mode_ipv4": "none"}, err: "none of nat, nat-unprotected, routed, isolated"},
		{name: "ipam without type", in: map[string]string{"seam.ipam": "{}"}, err: `no "type"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := parseOptions(test.in)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("%v, want an error with %q", err, test.err)
				}
				return
			}
			diff := cmp.Diff(test.want, got, cmp.AllowUnexported(options{}, linkOptions{}), cmpopts.EquateComparable(netip.Addr{}))
			if diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// TestDockerKeysAreNotOurs holds that a key of Seam's is never passed over.
func TestDockerKeysAreNotOurs(t *testing.T) {
	for _, o := range networkOptions() {
		if _, err := parseOptions(map[string]string{o.key + "x": "true"}); (err != nil) != strings.HasPrefix(o.key, optionPrefix) {
			t.Errorf("%sx: %v", o.key, err)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"seam.ip", "seam.mac", "seam.bandwidth"}
	for word, want := range map[string]string{
		"seam.bandwidht": "seam.bandwidth is meant, perhaps",
		"seam.ips":       "seam.ip is meant, perhaps",
		"seam.Mac":       "seam.mac is meant, perhaps",
		"seam.something": "known are seam.bandwidth, seam.ip, seam.mac",
		"":               "known are seam.bandwidth, seam.ip, seam.mac",
	} {
		if got := nearest(word, known); got != want {
			t.Errorf("%q: %s, want %s", word, got, want)
		}
	}
}

// FuzzOptions holds that what is taken makes a network, or is refused in words.
func FuzzOptions(f *testing.F) {
	for _, o := range networkOptions() {
		f.Add(o.key, "true", "seam.type", "bridge", true)
		f.Add(o.key, "7", "parent", "eth0", false)
	}
	f.Add("seam.ipam", `{"type": "dhcp"}`, "seam.vlan", "2", false)
	f.Add("seam.bandwidth", "ingress=10M", "seam.capabilities", `{"x": 1}`, false)
	f.Fuzz(func(t *testing.T, key, value, key2, value2 string, internal bool) {
		o, err := parseOptions(map[string]string{key: value, key2: value2})
		if err != nil || o.Network != "" || o.Conflist != nil {
			return
		}
		raw, err := generate(&cnm.Network{ID: testID, Internal: internal}, o)
		if err != nil {
			return
		}
		n, err := seam.Parse(raw, "")
		if err != nil || cni.CheckNetworkName(n.Name) != nil || len(n.Plugins) == 0 {
			t.Errorf("%+v, %v", n, err)
		}
	})
}
