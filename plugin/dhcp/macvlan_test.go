package dhcp_test

import (
	"strings"
	"testing"

	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/macvlan"
	"github.com/seamnet/seam/plugin/plugintest"
)

// TestMacvlan: a pod that stands on the host's own LAN, without a bridge, gets its
// address from there. The interface is down until the daemon needs it.
func TestMacvlan(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		l := newLAN(t, "--dhcp-option=option:router,10.9.0.1")
		daemon(t)
		plugintest.Run(t, nil, "ip", strings.Fields("link add uplink type veth peer name port")...)
		plugintest.Run(t, nil, "ip", strings.Fields("link set port master lan0 up")...)
		plugintest.Run(t, nil, "ip", strings.Fields("link set uplink up")...)
		p := macvlan.New(l.host)
		pod := netnstest.NewPod(t, "web")
		r := plugintest.Request(t, `{"cniVersion":"1.1.0","name":"lan","type":"macvlan","master":"uplink","ipam":{"type":"dhcp"}}`, pod, "c1", l.plugins)
		result, err := p.Add(t.Context(), r)
		if err != nil {
			t.Fatalf("ADD: %v\n%s", err, l.log)
		}
		r.Prev = result
		if got := l.leased("c1/lan/eth0"); len(got) != 1 || got[0] != result.IPs[0].Address.Addr().String() {
			t.Errorf("the server leased %q, the pod has %s", got, result.IPs[0].Address)
		}
		plugintest.Run(t, pod, "ping", "-c1", "-W5", "10.9.0.1")
		if err := p.Check(t.Context(), r); err != nil {
			t.Errorf("CHECK: %v", err)
		}
		if err := p.Del(t.Context(), r); err != nil {
			t.Errorf("DEL: %v", err)
		}
		l.freed("c1/lan/eth0")
	})
}
