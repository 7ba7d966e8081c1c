package seam_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
)

func TestWishesExpress(t *testing.T) {
	plain := &seam.Network{Name: "plain", File: "plain.conflist"}
	taking := &seam.Network{Name: "taking", Plugins: []seam.PluginConfig{{Capabilities: []string{"ips", "mac"}}, {Capabilities: []string{"bandwidth", "portMappings"}}}}
	addresses := seam.Wishes{IPs: []string{"10.0.0.1", "fd00::1"}, MAC: "02:00:00:00:00:01"}
	tests := []struct {
		name    string
		network *seam.Network
		wishes  seam.Wishes
		args    string
		caps    map[string]json.RawMessage
		err     string
	}{
		{"nothing", taking, seam.Wishes{Capabilities: map[string]json.RawMessage{}}, "", nil, ""},
		{"addresses as capabilities", taking, addresses, "",
			map[string]json.RawMessage{"ips": json.RawMessage(`["10.0.0.1","fd00::1"]`), "mac": json.RawMessage(`"02:00:00:00:00:01"`)}, ""},
		{"addresses as arguments", plain, addresses, "IP=10.0.0.1,fd00::1;MAC=02:00:00:00:00:01;IgnoreUnknown=1", nil, ""},
		{"who says what to ignore is left alone", plain, seam.Wishes{MAC: "02:00:00:00:00:01", Args: cni.Args{{Key: "IgnoreUnknown", Value: "0"}}},
			"IgnoreUnknown=0;MAC=02:00:00:00:00:01", nil, ""},
		{"ports and limits", taking, seam.Wishes{Ports: []cni.PortMapping{{HostPort: 1, ContainerPort: 2, Protocol: "tcp"}}, Bandwidth: cni.Bandwidth{EgressRate: 5, EgressBurst: 6}}, "",
			map[string]json.RawMessage{
				"portMappings": json.RawMessage(`[{"hostPort":1,"containerPort":2,"protocol":"tcp"}]`),
				"bandwidth":    json.RawMessage(`{"egressRate":5,"egressBurst":6}`),
			}, ""},
		{"what nobody takes", plain, seam.Wishes{Ports: []cni.PortMapping{{HostPort: 1, ContainerPort: 2}}}, "", nil, "network plain: no plugin takes the capability portMappings"},
		{"others that nobody takes", taking, seam.Wishes{Capabilities: map[string]json.RawMessage{"aliases": json.RawMessage(`[]`)}}, "", nil, "capability aliases"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			args, caps, err := test.wishes.Express(test.network)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("%v, want an error with %q", err, test.err)
				}
				return
			}
			if diff := cmp.Diff(test.caps, caps); diff != "" || err != nil || args.String() != test.args {
				t.Errorf("arguments %q, want %q; %v; capabilities (-want +got):\n%s", args, test.args, err, diff)
			}
		})
	}
}
