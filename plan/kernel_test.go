package plan

import (
	"slices"
	"strings"
	"testing"

	"github.com/seamnet/seam/hack/chains"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/plugintest"
)

// These need what not every kernel has.

func TestVLANsOfBridge(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		th := newTheatre(t)
		if err := th.links.AddBridge(link.Bridge{Name: "probe", VLANFiltering: true}); err != nil {
			t.Skipf("this kernel has no bridges that filter VLANs: %v", err)
		}
		n := th.of("tagged", `{"type":"bridge","bridge":"tagged0","vlan":5,"vlanTrunk":[{"id":7}],"ipam":{"type":"host-local","subnet":"10.71.0.0/24"}}`)
		p := th.plan(n, th.bare(0))
		th.exact(n, th.bare(0), p)
		if !slices.ContainsFunc(p.all(), func(c Change) bool { return c.What == "vlan" && strings.HasPrefix(c.Subject, "7 dev veth") }) {
			t.Errorf("no VLAN 7 in %q", text(p.all()))
		}
	})
}

func TestMasterThatIsTaken(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		th := newTheatre(t)
		plugintest.Must(t, chains.MakeUplinks(th.links))
		if has, err := th.links.Supports("vlan"); err != nil || !has {
			t.Skipf("this kernel has no vlan: %v", err)
		}
		five := th.of("five", `{"type":"vlan","master":"uplink","vlanId":5,"ipam":{"type":"host-local","subnet":"10.72.0.0/24"}}`)
		th.attach(five, th.bare(0))
		th.finds(th.plan(five, th.bare(1)), "master", true, "VLAN 5", "five/c0/eth0")
		mac := th.of("mac", `{"type":"macvlan","master":"uplink-ip","ipam":{"type":"host-local","subnet":"10.73.0.0/24"}}`)
		th.attach(mac, th.bare(2))
		ip := th.of("ip", `{"type":"ipvlan","master":"uplink-ip","ipam":{"type":"host-local","subnet":"10.74.0.0/24"}}`)
		th.finds(th.plan(ip, th.bare(1)), "master", true, "macvlan of container c2", "mac/c2/eth0")
	})
}
