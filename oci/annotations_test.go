package oci_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/oci"
)

func TestJoins(t *testing.T) {
	all := seam.Wishes{
		Ports: []cni.PortMapping{
			{HostPort: 8080, ContainerPort: 80, Protocol: "tcp"},
			{HostPort: 53, ContainerPort: 53, Protocol: "udp", HostIP: "::1"},
		},
		IPs: []string{"10.1.0.7", "fd00::7/64"}, MAC: "02:00:00:00:00:01",
		Bandwidth:    cni.Bandwidth{IngressRate: 10e6, IngressBurst: 1e6},
		Args:         cni.Args{{Key: "A", Value: "1"}, {Key: "B", Value: "2"}},
		Capabilities: map[string]json.RawMessage{"aliases": json.RawMessage(`["web"]`)},
	}
	tests := []struct {
		name string
		in   map[string]string
		want []oci.Join
		err  string // part of it
	}{
		{"nothing", map[string]string{"io.kubernetes.pod": "x", "seamless": "y"}, nil, ""},
		{"one", map[string]string{"seam.network": "prod"}, []oci.Join{{Network: "prod", IfName: "eth0"}}, ""},
		{"names by place", map[string]string{"seam.network": "prod, a.b:net0,prod"},
			[]oci.Join{{Network: "prod", IfName: "eth0"}, {Network: "a.b", IfName: "net0"}, {Network: "prod", IfName: "eth2"}}, ""},
		{"wishes of the first", map[string]string{
			"seam.network": "prod,store", "seam.ports": "8080:80, [::1]:53:53/udp", "seam.ip": "10.1.0.7,fd00::7/64", "seam.mac": "02:00:00:00:00:01",
			"seam.bandwidth": "ingress=10M", "seam.args": "A=1;B=2", "seam.capabilities": `{"aliases": ["web"]}`,
		}, []oci.Join{{"prod", "eth0", all}, {Network: "store", IfName: "eth1"}}, ""},
		{"wishes by interface", map[string]string{"seam.network": "prod,store:v.100", "seam.ip.eth0": "10.0.0.1", "seam.ip.v.100": "10.0.1.1"},
			[]oci.Join{{"prod", "eth0", seam.Wishes{IPs: []string{"10.0.0.1"}}}, {"store", "v.100", seam.Wishes{IPs: []string{"10.0.1.1"}}}}, ""},
		{"mistyped", map[string]string{"seam.network": "prod", "seam.port": "80:80"}, nil,
			"annotation seam.port: unknown; known are seam.network, seam.args, seam.bandwidth, seam.capabilities, seam.ip, seam.mac, seam.ports"},
		{"mistyped network", map[string]string{"seam.networks": "prod"}, nil, "annotation seam.network: missing or empty"},
		{"network of an interface", map[string]string{"seam.network": "prod", "seam.network.eth0": "prod"}, nil, "annotation seam.network.eth0: unknown"},
		{"no interface of that name", map[string]string{"seam.network": "prod,store", "seam.mac.eth2": "02:00:00:00:00:01"}, nil,
			`annotation seam.mac.eth2: no network is joined by interface "eth2", only by eth0, eth1`},
		{"said twice", map[string]string{"seam.network": "prod", "seam.ip": "10.0.0.1", "seam.ip.eth0": "10.0.0.2"}, nil,
			"annotation seam.ip.eth0: seam.ip says it, too"},
		{"empty", map[string]string{"seam.network": ""}, nil, "missing or empty"},
		{"empty element", map[string]string{"seam.network": "prod,"}, nil, "missing network name"},
		{"path for a name", map[string]string{"seam.network": "../prod"}, nil, `network name "../prod"`},
		{"interface is none", map[string]string{"seam.network": "prod:a b"}, nil, `interface name "a b"`},
		{"interface missing", map[string]string{"seam.network": "prod:"}, nil, "missing interface name"},
		{"interface twice", map[string]string{"seam.network": "prod:eth1,store"}, nil, "interface eth1 twice"},
		{"port", map[string]string{"seam.network": "prod", "seam.ports": "80"}, nil, `annotation seam.ports: "80": only one port; it is [HOSTIP:]`},
		{"address", map[string]string{"seam.network": "prod", "seam.ip": "10.0.0"}, nil, `annotation seam.ip: "10.0.0" is no address`},
		{"MAC", map[string]string{"seam.network": "prod", "seam.mac": "02:00"}, nil, `annotation seam.mac: "02:00" is no address`},
		{"bandwidth", map[string]string{"seam.network": "prod", "seam.bandwidth": "10M"}, nil, `annotation seam.bandwidth: "10M": "10M" is none of ingress`},
		{"args", map[string]string{"seam.network": "prod", "seam.args": "x"}, nil, "not of the form KEY=VALUE"},
		{"capabilities", map[string]string{"seam.network": "prod", "seam.capabilities": "[]"}, nil, "annotation seam.capabilities: not a JSON object"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := oci.Joins(test.in)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("%v, want an error with %q", err, test.err)
				}
				return
			}
			if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// FuzzJoins holds that what is taken can be attached: names that are names, each interface once.
func FuzzJoins(f *testing.F) {
	f.Add("prod,store:net0", "ip.net0", "10.0.0.1")
	f.Add("prod", "ports", "127.0.0.1:5353:53/udp")
	f.Add("a:eth1,b", "capabilities.eth1", "{}")
	f.Fuzz(func(t *testing.T, networks, wish, value string) {
		joins, err := oci.Joins(map[string]string{"seam.network": networks, "seam." + wish: value})
		seen := make(map[string]bool)
		for _, j := range joins {
			if cni.CheckNetworkName(j.Network) != nil || cni.CheckIfName(j.IfName) != nil || seen[j.IfName] {
				t.Errorf("%q: %+v", networks, j)
			}
			seen[j.IfName] = true
		}
		if (err == nil) != (len(joins) > 0) {
			t.Errorf("%q: %d networks, %v", networks, len(joins), err)
		}
	})
}

func TestContainerID(t *testing.T) {
	for id, want := range map[string]string{
		"web":                 "web",
		"web_1.x-2":           "web_1.x-2",
		"web+1":               "oci-",
		"-web":                "oci-",
		"../../etc/cron.d/x":  "oci-",
		"größe":               "oci-",
		"registry.k8s.io/web": "oci-",
	} {
		got := oci.ContainerID(id)
		if err := cni.CheckContainerID(got); err != nil || want == id && got != id || !strings.HasPrefix(got, want) {
			t.Errorf("ContainerID(%q) = %q, %v, want %q", id, got, err, want)
		}
	}
	if oci.ContainerID("a+b") == oci.ContainerID("a/b") {
		t.Error("two containers have one name")
	}
}
