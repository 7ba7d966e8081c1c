package plugin_test

import (
	"testing"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/plugintest"
)

// TestMAC: whose keys of CNI_ARGS are known, and that the configuration is decoded anew only
// to know.
func TestMAC(t *testing.T) {
	const conf = `{"cniVersion":"1.1.0","name":"net","type":"x","ipam":{"type":"dhcp","provide":[{"option":"60","fromArg":"K"}]}}`
	r := plugintest.Request(t, conf, nil, "c", nil)
	for _, test := range []struct{ args, mac, want string }{
		{"", "", ""},
		{"MAC=02:00:00:00:00:01", "02:00:00:00:00:01", ""},
		{"MAC=02:00:00:00:00:01;IP=10.1.0.2;GATEWAY=10.1.0.1;K=v", "02:00:00:00:00:01", ""},
		{"K=v;L=w", "", `CNI_ARGS: unknown key "L"`},
		{"L=w;IgnoreUnknown=1", "", ""},
		{"K=v;IgnoreUnknown=no", "", `IgnoreUnknown="no" is none of`},
	} {
		r.Args = nil
		if test.args != "" {
			args, err := cni.ParseArgs(test.args)
			plugintest.Must(t, err)
			r.Args = args
		}
		mac, err := new(plugin.Config).MAC(r, "")
		if test.want != "" {
			plugintest.WantError(t, test.args, err, cni.CodeInvalidEnvironment, test.want)
		} else if err != nil || mac.String() != test.mac {
			t.Errorf("%s: %s, %v; want %s", test.args, mac, err, test.mac)
		}
	}
	r.Args = cni.Args{{Key: "IgnoreUnknown", Value: "1"}, {Key: "K8S_POD_NAME", Value: "p"}}
	if n := testing.AllocsPerRun(10, func() { _, _ = new(plugin.Config).MAC(r, "") }); n > 1 {
		t.Errorf("%v allocations where unknown keys are ignored", n)
	}
}
