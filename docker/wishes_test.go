package docker

import (
	"encoding/json"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cnm"
)

func ingress(rate uint64) cni.Bandwidth {
	return cni.Bandwidth{IngressRate: rate, IngressBurst: rate / 10}
}

func TestWishes(t *testing.T) {
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	defaults := seam.Wishes{
		Bandwidth:    ingress(1e6),
		Args:         cni.Args{{Key: "A", Value: "net"}, {Key: "B", Value: "net"}},
		Capabilities: map[string]json.RawMessage{"x": json.RawMessage(`"net"`), "y": json.RawMessage(`"net"`)},
	}
	tests := []struct {
		name     string
		options  map[string]string
		labels   map[string]string
		set      cnm.Interface
		takes    []string
		defaults seam.Wishes
		want     seam.Wishes
		warnings []string // parts of them
		err      string   // part of it
	}{
		{name: "nothing"},
		{name: "of the network", defaults: defaults, want: defaults},
		{name: "of the endpoint", set: cnm.Interface{MAC: mac}, options: map[string]string{
			"seam.bandwidth": "ingress=2M", "seam.ports": "8080:80", "seam.ip": "10.0.0.7", "com.docker.network.endpoint.sysctls": "x=1", "seam.mac": "02:00:00:00:00:01",
		}, defaults: defaults, want: seam.Wishes{Bandwidth: ingress(2e6), IPs: []string{"10.0.0.7"}, MAC: "02:00:00:00:00:01",
			Ports: []cni.PortMapping{{HostPort: 8080, ContainerPort: 80, Protocol: "tcp"}}, Args: defaults.Args, Capabilities: defaults.Capabilities}},
		{name: "labels", labels: map[string]string{
			"seam.bandwidth": "ingress=3M", "seam.bandwidth.shop_web": "ingress=4M", "seam.bandwidth.other": "ingress=5M", "seam.args": "A=all", "com.example": "x",
			"seam.args.v.100": "B=one", "seam.capabilities": `{"x": "all"}`, "seam.ip.shop_web": "10.0.0.7", "seamless": "x",
		}, defaults: defaults, want: seam.Wishes{Bandwidth: ingress(4e6), IPs: []string{"10.0.0.7"}, Args: cni.Args{{Key: "A", Value: "all"}, {Key: "B", Value: "one"}},
			Capabilities: map[string]json.RawMessage{"x": json.RawMessage(`"all"`), "y": json.RawMessage(`"net"`)}}},
		{name: "options before labels", labels: map[string]string{"seam.bandwidth": "ingress=3M", "seam.args.shop_web": "A=one;C=one"}, defaults: defaults,
			options: map[string]string{"seam.bandwidth": "egress=6M", "seam.args": "C=ep", "seam.capabilities": `{"y": "ep", "z": 1}`},
			want: seam.Wishes{Bandwidth: cni.Bandwidth{EgressRate: 6e6, EgressBurst: 6e5},
				Args:         cni.Args{{Key: "B", Value: "net"}, {Key: "A", Value: "one"}, {Key: "C", Value: "ep"}},
				Capabilities: map[string]json.RawMessage{"x": json.RawMessage(`"net"`), "y": json.RawMessage(`"ep"`), "z": json.RawMessage(`1`)}}},
		{name: "labels of what is taken", takes: []string{"x"}, labels: map[string]string{
			"seam.bandwidth": "ingress=3M", "seam.capabilities": `{"x": 1, "y": 2}`, "seam.capabilities.shop_web": `{"z": 3}`, "seam.args": "A=1"},
			want: seam.Wishes{Args: cni.Args{{Key: "A", Value: "1"}}, Capabilities: map[string]json.RawMessage{"x": json.RawMessage(`1`), "z": json.RawMessage(`3`)}}},
		{name: "wrong labels", labels: map[string]string{"seam.bandwidht": "x", "seam.bandwidth": "x", "seam.ip": "10.0.0.7", "seam.mac.other": "x", "seam.args": "A=1", "seam.args.shop_web": "B"},
			want: seam.Wishes{Args: cni.Args{{Key: "A", Value: "1"}}}, warnings: []string{
				"label seam.args.shop_web: passed over: ", `label seam.bandwidht: unknown; known are seam.args, seam.bandwidth, `, `label seam.bandwidth: passed over: "x"`,
				"label seam.ip: passed over, as it does not say of which network: seam.ip.NETWORK does"}},
		{name: "address of two", set: cnm.Interface{Addresses: prefixList("10.0.0.8/24")}, labels: map[string]string{"seam.ip.shop_web": "10.0.0.7"},
			warnings: []string{"label seam.ip: passed over"}},

		{name: "mistyped", options: map[string]string{"seam.bandwidht": "1M"}, err: "--driver-opt seam.bandwidht: unknown; seam.bandwidth is meant, perhaps"},
		{name: "unknown", options: map[string]string{"seam.network": "x"}, err: "--driver-opt seam.network: unknown; known are seam.args, "},
		{name: "wrong", options: map[string]string{"seam.mac": "x"}, err: `--driver-opt seam.mac: "x" is no address`},
		{name: "address set twice", set: cnm.Interface{Addresses: prefixList("10.0.0.8/24")}, options: map[string]string{"seam.ip": "10.0.0.7"}, err: "--driver-opt seam.ip: the network's IPAM"},
		{name: "MAC set twice", set: cnm.Interface{MAC: mac}, options: map[string]string{"seam.mac": "02:00:00:00:00:02"}, err: "--driver-opt seam.mac=02:00:00:00:00:02: the MAC address is 02:00:00:00:00:01"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := test.defaults.Capabilities["x"]
			w := wanted{endpoint: &cnm.Endpoint{Interface: test.set, Options: test.options}, defaults: test.defaults, labels: test.labels, networks: []string{"shop_web", "v.100"}, takes: test.takes}
			got, warnings, err := w.wishes()
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("%v, want an error with %q", err, test.err)
				}
				return
			}
			if diff := cmp.Diff(test.want, got, cmpopts.EquateEmpty()); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
			partly := cmp.Comparer(func(a, b string) bool { return strings.HasPrefix(a, b) || strings.HasPrefix(b, a) })
			if diff := cmp.Diff(test.warnings, warnings, partly, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
			if string(before) != string(test.defaults.Capabilities["x"]) {
				t.Error("the network's own wishes were changed")
			}
		})
	}
}
