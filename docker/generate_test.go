package docker

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cnm"
)

const testID = cnm.NetworkID("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")

func pools(subnets ...string) []cnm.AddressPool {
	var all []cnm.AddressPool
	for _, s := range subnets {
		subnet, gateway, _ := strings.Cut(s, " ")
		pool := cnm.AddressPool{Subnet: netip.MustParsePrefix(subnet)}
		if gateway != "" {
			pool.Gateway = netip.PrefixFrom(netip.MustParseAddr(gateway), pool.Subnet.Bits())
		}
		all = append(all, pool)
	}
	return all
}

// The plugins of generated networks, as far as they differ from one to the next.
const (
	portmapPlugin   = `{"type": "portmap", "capabilities": {"portMappings": true}}`
	bandwidthPlugin = `{"type": "bandwidth", "capabilities": {"bandwidth": true}}`
	afterBridge     = portmapPlugin + `, {"type": "firewall", "ingressPolicy": "same-bridge"}, ` + bandwidthPlugin
	route4          = `{"dst": "0.0.0.0/0"}`
	route6          = `{"dst": "::/0"}`
)

func TestGenerate(t *testing.T) {
	v4, v6 := pools("172.18.0.0/16 172.18.0.1"), pools("fd00:18::/64 fd00:18::1")
	null := pools("0.0.0.0/0")
	static := func(routes ...string) string {
		if len(routes) == 0 {
			return `{"type": "static"}`
		}
		return `{"type": "static", "routes": [` + strings.Join(routes, ",") + `]}`
	}
	tests := []struct {
		name    string
		options map[string]string
		network cnm.Network
		want    string // the plugins
		err     string // part of it
	}{
		{name: "bridge", network: cnm.Network{Pools: v4},
			want: `{"type": "bridge", "bridge": "sm-0123456789ab", "isGateway": true, "isDefaultGateway": false, "ipMasq": true, "hairpinMode": true,
				"capabilities": {"mac": true}, "ipam": ` + static(route4) + `}, ` + afterBridge},
		{name: "both families", network: cnm.Network{Pools: append(v4, v6...), IPv6: true},
			want: `{"type": "bridge", "bridge": "sm-0123456789ab", "isGateway": true, "isDefaultGateway": false, "ipMasq": true, "hairpinMode": true,
				"capabilities": {"mac": true}, "ipam": ` + static(route4, route6) + `}, ` + afterBridge},
		{name: "internal", network: cnm.Network{Pools: v4, Internal: true},
			want: `{"type": "bridge", "bridge": "sm-0123456789ab", "hairpinMode": true, "capabilities": {"mac": true}, "ipam": ` + static() + `}, ` + afterBridge},
		{name: "internal that the host reaches", network: cnm.Network{Pools: v4, Internal: true}, options: map[string]string{"seam.gateway": "true"},
			want: `{"type": "bridge", "bridge": "sm-0123456789ab", "isGateway": true, "isDefaultGateway": false, "hairpinMode": true,
				"capabilities": {"mac": true}, "ipam": ` + static() + `}, ` + afterBridge},
		{name: "a gateway elsewhere", network: cnm.Network{Pools: v4}, options: map[string]string{"com.docker.network.bridge.inhibit_ipv4": "true", "seam.ipmasq": "false"},
			want: `{"type": "bridge", "bridge": "sm-0123456789ab", "hairpinMode": true, "capabilities": {"mac": true}, "ipam": ` + static(route4) + `}, ` + afterBridge},
		{name: "all keys", network: cnm.Network{Pools: pools("10.0.0.0/24")},
			options: map[string]string{"seam.bridge": "br0", "seam.mtu": "1400", "seam.vlan": "5", "seam.icc": "false", "seam.isolate": "false", "seam.ipmasq": "false"},
			want: `{"type": "bridge", "bridge": "br0", "isGateway": true, "isDefaultGateway": false, "hairpinMode": true, "mtu": 1400, "vlan": 5, "portIsolation": true,
				"capabilities": {"mac": true}, "ipam": ` + static() + `}, ` + portmapPlugin + `, {"type": "firewall"}, ` + bandwidthPlugin},
		{name: "one family under its own address", network: cnm.Network{Pools: append(v4, v6...)}, options: map[string]string{"com.docker.network.bridge.gateway_mode_ipv6": "routed"},
			want: `{"type": "bridge", "bridge": "sm-0123456789ab", "isGateway": true, "isDefaultGateway": false, "hairpinMode": true,
				"capabilities": {"mac": true}, "ipam": ` + static(route4, route6) + `}, {"type": "masquerade", "except": ["::/0"]}, ` + afterBridge},
		{name: "no addresses", network: cnm.Network{Pools: null},
			want: `{"type": "bridge", "bridge": "sm-0123456789ab", "isGateway": true, "isDefaultGateway": false, "ipMasq": true, "hairpinMode": true,
				"capabilities": {"mac": true}}, ` + afterBridge},
		{name: "addresses of a plugin", network: cnm.Network{Pools: null}, options: map[string]string{"seam.ipam": `{"type": "host-local", "subnet": "10.9.0.0/24"}`},
			want: `{"type": "bridge", "bridge": "sm-0123456789ab", "isGateway": true, "isDefaultGateway": true, "ipMasq": true, "hairpinMode": true,
				"capabilities": {"mac": true}, "ipam": {"type": "host-local", "subnet": "10.9.0.0/24"}}, ` + afterBridge},
		{name: "addresses of a server", network: cnm.Network{Pools: null}, options: map[string]string{"seam.ipam": "dhcp", "seam.bridge": "lan0", "seam.ipmasq": "false"},
			want: `{"type": "bridge", "bridge": "lan0", "hairpinMode": true, "capabilities": {"mac": true}, "ipam": {"type": "dhcp"}}, ` + afterBridge},
		{name: "macvlan", network: cnm.Network{Pools: v4}, options: map[string]string{"parent": "eth0", "macvlan_mode": "vepa", "com.docker.network.driver.mtu": "1400"},
			want: `{"type": "macvlan", "master": "eth0", "mode": "vepa", "mtu": 1400, "capabilities": {"mac": true}, "ipam": ` + static(route4) + `}`},
		{name: "ipvlan", network: cnm.Network{Pools: v4}, options: map[string]string{"seam.type": "ipvlan"},
			want: `{"type": "ipvlan", "ipam": ` + static(route4) + `}`},
		{name: "internal macvlan", network: cnm.Network{Pools: v4, Internal: true}, options: map[string]string{"parent": "eth0"},
			want: `{"type": "macvlan", "master": "eth0", "capabilities": {"mac": true}, "ipam": ` + static() + `}`},
		{name: "ptp", network: cnm.Network{Pools: v4}, options: map[string]string{"seam.type": "ptp"},
			want: `{"type": "ptp", "ipMasq": true, "ipam": ` + static(route4) + `}, ` + portmapPlugin + `, ` + bandwidthPlugin},

		{name: "addresses twice", network: cnm.Network{Pools: v4}, options: map[string]string{"seam.ipam": "dhcp"}, err: "add --ipam-driver null"},
		{name: "internal ptp", network: cnm.Network{Internal: true}, options: map[string]string{"seam.type": "ptp"}, err: "--internal: "},
		{name: "internal without parent", network: cnm.Network{Internal: true}, options: map[string]string{"macvlan_mode": "bridge"}, err: "without -o parent a macvlan network"},
		{name: "isolated", network: cnm.Network{Pools: v4}, options: map[string]string{"com.docker.network.bridge.gateway_mode_ipv4": "isolated"}, err: "the gateway mode isolated"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.network.ID = testID
			o, err := parseOptions(test.options)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := generate(&test.network, o)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("%v, want an error with %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := `{"cniVersion": "1.0.0", "name": "docker-0123456789ab", "plugins": [` + test.want + `]}`
			if diff := cmp.Diff(decoded(t, want), decoded(t, string(raw))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func decoded(t *testing.T, text string) (v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func TestBridgeOf(t *testing.T) {
	for conflist, want := range map[string]string{
		`{"plugins": [{"type": "bridge", "bridge": "b0"}]}`:                  "b0",
		`{"plugins": [{"type": "ptp"}, {"type": "bridge", "bridge": "b0"}]}`: "",
		`{"plugins": []}`: "",
		`{"plugins": [{"type": "macvlan", "bridge": "b0", "master": "eth0"}]}`: "",
		``: "",
	} {
		if got := bridgeOf([]byte(conflist)); got != want {
			t.Errorf("%s: %q, want %q", conflist, got, want)
		}
	}
}

func parsed(t *testing.T, list string) *seam.Network {
	t.Helper()
	n, err := seam.Parse([]byte(list), "")
	if err != nil {
		t.Fatal(err)
	}
	return n
}
