package link_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/netns/netnstest"
)

// furnished is a host with much of what a host can have.
const furnished = `
ip link add up0 type veth peer name up1
ip link set up0 mtu 1450
ip link set up0 up
ip link set up1 up
ip link property add dev up0 altname anotherandalongername
ip addr add 192.0.2.2/24 dev up0
ip addr add 2001:db8::2/64 dev up0 nodad
ip route add default via 192.0.2.1
ip -6 route add default via 2001:db8::1
ip link add vx0 type vxlan id 7 dstport 4789 dev up0
ip link set vx0 up
ip addr add 10.244.0.0/32 dev vx0
ip route add 10.244.1.0/24 via 10.244.1.0 dev vx0 onlink
ip link add br9 type bridge
ip link set br9 up
ip link set vx0 master br9
ip link add mv0 link up0 type macvlan
ip link set mv0 alias something
ip addr add 10.8.0.1 peer 10.8.0.2 dev mv0
ip link set mv0 up
ip route add 10.9.0.0/16 dev mv0 mtu 1300
ip route add blackhole 10.77.0.0/16
ip route add 10.79.0.0/16 nexthop via 192.0.2.5 nexthop via 192.0.2.6
ip rule add fwmark 0x10 lookup 99
ip rule add from 198.51.100.0/24 to 203.0.113.7 iif up0 lookup 99
ip route add default via 192.0.2.3 table 99 metric 5
ip neigh add 192.0.2.55 lladdr 02:00:00:00:00:55 dev up0
sysctl ipv4/ip_forward=1
sysctl ipv4/conf/up0/rp_filter=2
`

// told is what a mirror has to have of a namespace, in lines.
func told(t *testing.T, h *link.Handle, fresh link.Settings) (lines []string) {
	t.Helper()
	s, err := h.TakeSnapshotBeside(fresh)
	noError(t, err)
	for _, i := range s.Items() {
		lines = append(lines, strings.TrimSpace(i.Kind+" "+i.Subject+" "+i.Value))
	}
	for _, l := range s.Links {
		master := ""
		for _, m := range s.Links {
			if m.Index == l.Master && l.Master != 0 {
				master = m.Name
			}
		}
		lines = append(lines, fmt.Sprintf("link %s %s mtu %d up %v master %q alias %q %q", l.Name, l.MAC, l.MTU, l.Up, master, l.Alias, l.AltNames))
	}
	slices.Sort(lines)
	return lines
}

func TestMirror(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		empty, err := netns.New()
		noError(t, err)
		fresh, err := link.ReadSettings(empty)
		noError(t, err)
		noError(t, empty.Close())
		host, like, elsewhere := netnstest.NewPod(t, "host"), netnstest.NewPod(t, "like"), netnstest.NewPod(t, "elsewhere")
		script(t, host, furnished)
		h, err := link.In(host.NS)
		noError(t, err)
		defer h.Close()
		m, err := link.In(like.NS)
		noError(t, err)
		defer m.Close()

		s, err := h.TakeSnapshotBeside(fresh)
		noError(t, err)
		pairs, err := h.Pairs()
		noError(t, err)
		if diff := cmp.Diff(map[string]string{"up0": "up1", "up1": "up0"}, pairs); diff != "" {
			t.Errorf("pairs (-want +got):\n%s", diff)
		}
		noError(t, m.Mirror(link.Mirror{Of: s, Pairs: pairs, Elsewhere: elsewhere.NS}))
		want := told(t, h, fresh)
		if diff := cmp.Diff(want, told(t, m, fresh)); diff != "" {
			t.Errorf("the mirror (-host +mirror):\n%s", diff)
		}
		for _, line := range []string{
			"address 10.8.0.1/32 peer 10.8.0.2 dev mv0", "route default via 192.0.2.3 dev up0 table 99 metric 5", "sysctl net/ipv4/ip_forward 1",
			"rule 32764: from 198.51.100.0/24 to 203.0.113.7/32 iif up0 lookup 99", "route 10.9.0.0/16 dev mv0 mtu 1300", "neighbour 192.0.2.55 dev up0 lladdr 02:00:00:00:00:55",
		} {
			if !slices.Contains(want, line) {
				t.Errorf("no %q in %q", line, want)
			}
		}
		var leads []string
		for _, d := range s.Others(func(l link.Link) bool { return l.Name == "mv0" }).Destinations() {
			leads = append(leads, d.Prefix.String())
		}
		slices.Sort(leads)
		if diff := cmp.Diff([]string{"10.244.1.0/24", "10.79.0.0/16", "192.0.2.0/24", "2001:db8::/64"}, slices.Compact(leads)); diff != "" {
			t.Errorf("destinations (-want +got):\n%s", diff)
		}
	})
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
