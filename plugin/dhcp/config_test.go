package dhcp_test

import (
	"strings"
	"testing"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/plugin/dhcp"
	"github.com/seamnet/seam/plugin/plugintest"
)

// TestRefused: nonsense is refused before a daemon is asked.
func TestRefused(t *testing.T) {
	long := strings.Repeat("x", 256)
	for _, test := range []struct{ ipam, want string }{
		{`"daemonSocketPath": "dhcp.sock"`, `ipam.daemonSocketPath "dhcp.sock": must be an absolute path of at most 107 bytes`},
		{`"priority": -1`, "ipam.priority -1: must not be negative"},
		{`"request": [{"option": "router"}]`, `ipam.request[0]: option "router" is no number from 1 to 254, and none of subnet-mask, routers`},
		{`"request": [{}, {"option": "255"}]`, `ipam.request[1]: option "255"`},
		{`"provide": [{"value": "x"}]`, `ipam.provide[0]: option "" is no number`},
		{`"provide": [{"option": "256", "value": "x"}]`, `ipam.provide[0]: option "256"`},
		{`"provide": [{"option": "53", "value": "x"}]`, `ipam.provide[0]: option 53 is set by the protocol itself`},
		{`"provide": [{"option": "60", "value": "` + long + `"}]`, `ipam.provide[0]: value of option "60": 256 bytes, at most 255 fit`},
	} {
		r := plugintest.Request(t, `{"cniVersion": "1.1.0", "name": "lan", "type": "dhcp", "ipam": {"type": "dhcp", `+test.ipam+`}}`, nil, "c1", nil)
		r.NetNS = "/run/netns/none"
		_, err := dhcp.New().Add(t.Context(), r)
		wantError(t, err, cni.CodeInvalidConfig, `dhcp: network "lan": `+test.want)
		wantError(t, dhcp.New().Status(t.Context(), r), cni.CodeNotAvailable, test.want)
	}
	r := plugintest.Request(t, `{"cniVersion": "1.1.0", "name": "lan", "type": "dhcp", "ipam": {"type": "dhcp", "provide": [{"option": "60", "fromArg": "K"}]}}`, nil, "c1", nil)
	_, err := dhcp.New().Add(t.Context(), r)
	wantError(t, err, cni.CodeInvalidNetNS, `namespace "": must be a path`)
	r.NetNS, r.Args = "/run/netns/none", cni.Args{{Key: "K", Value: long}}
	_, err = dhcp.New().Add(t.Context(), r)
	wantError(t, err, cni.CodeInvalidEnvironment, `CNI_ARGS: K: 256 bytes, at most 255 fit into option "60"`)
}
