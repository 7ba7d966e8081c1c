package plugin_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/plugintest"
)

// TestRetainForwards: only what was admitted for one link, which is gone, is taken back.
func TestRetainForwards(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		plugintest.Run(t, nil, "iptables-nft", "-P", "FORWARD", "DROP")
		plugintest.Run(t, nil, "ip", "link", "add", "there0", "type", "bridge")
		host := plugintest.Host(t)
		table, err := host.Table()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"there0", "gone0", "tun+"} {
			if err := table.AdmitForward(name); err != nil {
				t.Fatal(err)
			}
		}
		if err := host.RetainForwards(); err != nil {
			t.Error(err)
		}
		names, err := table.Admitted()
		if diff := cmp.Diff([]string{"there0", "tun+"}, names); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	})
}
