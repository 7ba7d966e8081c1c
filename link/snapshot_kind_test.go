package link_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns/netnstest"
)

// TestSnapshotOfBridge: a kind that cannot be moved is made again, with its ports as they
// were.
func TestSnapshotOfBridge(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		staging, sandbox := twoPods(t)
		outside(t, staging, "eth0", "net1")
		script(t, staging, `
			ip link add br0 address 02:00:00:00:99:01 mtu 1400 type bridge ageing_time 7000 forward_delay 300
			sysctl ipv6/conf/br0/accept_dad=0
			sysctl ipv6/conf/eth0/accept_dad=0
			sysctl ipv6/conf/net1/accept_dad=0
			ip link set br0 alias inner txqueuelen 55
			sysctl ipv4/conf/br0/arp_announce=2
			ip link set eth0 mtu 1400 master br0
			bridge link set dev eth0 isolated on hairpin on cost 77
			ip link set br0 up
			ip link set eth0 up
			ip link set net1 up
			ip addr add 192.0.2.2/24 dev br0
			ip route add default via 192.0.2.1`)
		h, to := open(t, staging), open(t, sandbox)
		s := stored(t, h)
		before := settled(t, staging) + bridgeState(t, staging)
		if moved, err := h.MoveAll(to, nil); err != nil || len(moved) != 2 {
			t.Fatalf("moved %v, %v, want eth0 and net1", moved, err)
		}
		for range 2 {
			if err := to.Restore(s, link.RestoreOptions{}); err != nil {
				t.Errorf("restore: %v", err)
			}
		}
		if diff := cmp.Diff(sections(before), sections(settled(t, sandbox)+bridgeState(t, sandbox))); diff != "" {
			t.Errorf("(-before +after):\n%s", diff)
		}
	})
}

// TestSnapshotOfKinds: links that stand on others, and a VRF with its table, as far as the
// kernel has them.
func TestSnapshotOfKinds(t *testing.T) {
	for kind, lines := range map[string]string{
		"vlan": `
			ip link add link eth0 name eth0.5 type vlan id 5
			ip link add link eth0 name eth0.6 type vlan id 6
			ip link set eth0.5 up
			ip addr add 10.5.0.1/24 dev eth0.5
			ip addr add 10.6.0.1/24 dev eth0.6`,
		"ipvlan": `
			ip link add link eth0 name ipv0 type ipvlan mode l2
			ip link add link eth0 name ipv1 type ipvlan mode l2
			ip link set ipv0 up
			ip addr add 10.5.0.1/24 dev ipv0
			ip addr add 10.6.0.1/24 dev ipv1`,
		"dummy": `
			ip link add dum0 type dummy
			ip link set dum0 up
			ip addr add 10.5.0.1/24 dev dum0`,
		"ifb": `
			ip link add ifb0 type ifb
			ip link set ifb0 up`,
		"vrf": `
			ip link add blue type vrf table 1100
			ip link set blue up
			ip link set eth0 master blue
			ip addr add 2001:db8::5/64 nodad dev eth0
			ip route add default via 192.0.2.1 table 1100
			ip -6 route add default via 2001:db8::1 table 1100`,
	} {
		t.Run(kind, func(t *testing.T) { testSnapshotOfKind(t, kind, lines) })
	}
}

func testSnapshotOfKind(t *testing.T, kind, lines string) {
	netnstest.Host(t, func(t *testing.T) {
		staging, sandbox := twoPods(t)
		h, to := open(t, staging), open(t, sandbox)
		if !must[bool](t)(h.Supports(kind)) {
			t.Skipf("this kernel has no %s", kind)
		}
		outside(t, staging, "eth0")
		script(t, staging, "sysctl ipv6/conf/default/accept_dad=0\n sysctl ipv6/conf/eth0/accept_dad=0\n ip link set eth0 up\n ip addr add 192.0.2.2/24 dev eth0\n"+lines)
		s := stored(t, h)
		before := settled(t, staging)
		if _, err := h.MoveAll(to, nil); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := to.Restore(s, link.RestoreOptions{}); err != nil {
				t.Errorf("restore: %v", err)
			}
			same(t, before, sandbox)
		}
	})
}

func bridgeState(t *testing.T, pod *netnstest.Pod) string {
	t.Helper()
	var b strings.Builder
	for _, words := range [][]string{{"-d", "link"}} {
		err := pod.NS.Do(func() error {
			out, err := exec.Command("bridge", words...).CombinedOutput()
			fmt.Fprintf(&b, "# bridge %s\n%s", strings.Join(words, " "), numbered.ReplaceAllString(string(out), ""))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}
