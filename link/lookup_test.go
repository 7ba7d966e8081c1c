package link_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns/netnstest"
)

// lookupHost has a link l0 with 10.1.0.1/24, and tables for what comes from 10.9.0.0/16 or
// bears mark 7.
func lookupHost(t *testing.T) *link.Handle {
	t.Helper()
	for _, args := range []string{
		"link add name l0 type veth peer name l1", "link set l0 up", "link set l1 up", "addr add 10.1.0.1/24 dev l0",
		"addr add fd00::1/64 dev l0 nodad", "route add default via 10.1.0.2", "route add default via 10.1.0.3 table 100 mtu 1400",
		"rule add from 10.9.0.0/16 lookup 100 priority 50", "rule add fwmark 7 lookup 101 priority 60", "route add prohibit default table 101",
		"route add unreachable 198.51.100.0/24", "neigh add 10.1.0.2 lladdr 02:00:00:00:00:02 dev l0",
	} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", args, err, out)
		}
	}
	return open(t, nil)
}

func TestDecide(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h := lookupHost(t)
		a := netip.MustParseAddr
		for _, tt := range []struct {
			name string
			ask  link.Lookup
			want string
			err  error
		}{
			{"neighbour", link.Lookup{To: a("10.1.0.9")}, "unicast 10.1.0.0/24 invalid IP table 254 src 10.1.0.1 mtu 0 by ", nil},
			{"default", link.Lookup{To: a("203.0.113.1")}, "unicast 0.0.0.0/0 10.1.0.2 table 254 src 10.1.0.1 mtu 0 by ", nil},
			{"own", link.Lookup{To: a("10.1.0.1")}, "local 10.1.0.1/32 invalid IP table 255 src 10.1.0.1 mtu 0 by ", nil},
			{"IPv6", link.Lookup{To: a("fd00::2")}, "unicast fd00::/64 invalid IP table 254 src fd00::1 mtu 0 by ", nil},
			{"rule on the mark", link.Lookup{To: a("203.0.113.1"), Mark: 7}, "", unix.EACCES},
			{"unreachable", link.Lookup{To: a("198.51.100.1")}, "", unix.EHOSTUNREACH},
			{"none", link.Lookup{To: a("2001:db8::1")}, "", unix.ENETUNREACH},
		} {
			t.Run(tt.name, func(t *testing.T) {
				d, err := h.Decide(tt.ask)
				if !errors.Is(err, tt.err) {
					t.Fatalf("error %v, want %v", err, tt.err)
				}
				if err != nil {
					return
				}
				rule, err := h.RuleOf(tt.ask, d)
				if err != nil {
					t.Fatal(err)
				}
				if got := fmt.Sprintf("%s %s %s table %d src %s mtu %d by %s", d.Type, d.Dst, d.GW, d.Table, d.Source, d.MTU, rule); got != tt.want {
					t.Errorf("decision %q, want %q", got, tt.want)
				}
			})
		}
	})
}

func TestRuleOf(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h := lookupHost(t)
		if out, err := exec.Command("ip", "addr", "add", "10.9.0.1/32", "dev", "l0").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		ask := link.Lookup{To: netip.MustParseAddr("203.0.113.1"), From: netip.MustParseAddr("10.9.0.1")}
		d, err := h.Decide(ask)
		if err != nil || d.Table != 100 || d.MTU != 1400 {
			t.Fatalf("%+v, %v", d, err)
		}
		rule, err := h.RuleOf(ask, d)
		if want := "50: from 10.9.0.0/16 lookup 100"; rule != want || err != nil {
			t.Errorf("rule %q, %v, want %q", rule, err, want)
		}
	})
}

func TestNeighbour(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h := lookupHost(t)
		a := must[link.Link](t)(h.ByName("l0"))
		n, err := h.Neighbour(a, netip.MustParseAddr("10.1.0.2"))
		if err != nil || n.MAC.String() != "02:00:00:00:00:02" || n.State != "permanent" {
			t.Errorf("neighbour %+v, %v", n, err)
		}
		if _, err := h.Neighbour(a, netip.MustParseAddr("10.1.0.99")); !link.Missing(err) {
			t.Errorf("neighbour that is not known: %v", err)
		}
		for _, args := range []string{"link add name br0 type bridge", "link set br0 up", "link set l1 master br0"} {
			if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
				t.Fatalf("ip %s: %v: %s", args, err, out)
			}
		}
		br, b := must[link.Link](t)(h.ByName("br0")), must[link.Link](t)(h.ByName("l1"))
		if port, err := h.PortTo(br, b.MAC); err != nil || port != b.Index {
			t.Errorf("port %d, %v, want %d", port, err, b.Index)
		}
		if _, err := h.PortTo(br, n.MAC); !link.Missing(err) {
			t.Errorf("port to an address that is not known: %v", err)
		}
	})
}
