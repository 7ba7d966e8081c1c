package nft_test

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/nft"
)

// tracedEvents are those of one TCP connection from the pod to 10.1.0.1:80, as text.
func tracedEvents(t *testing.T, pod *netnstest.Pod) (lines []string) {
	t.Helper()
	packet := nft.Packet{
		Protocol: unix.IPPROTO_TCP,
		From:     netip.MustParseAddrPort("10.1.0.2:40000"), To: netip.MustParseAddrPort("10.1.0.1:80"),
	}
	trace, err := nft.OpenTrace(packet)
	must(t, err)
	defer trace.Close()
	d := net.Dialer{Timeout: 300 * time.Millisecond, LocalAddr: &net.TCPAddr{IP: net.IPv4(10, 1, 0, 2), Port: 40000}}
	must(t, pod.NS.Do(func() error {
		if c, err := d.Dial("tcp", "10.1.0.1:80"); err == nil {
			c.Close()
		}
		return nil
	}))
	events, err := trace.Events()
	must(t, err)
	for _, e := range events {
		where := e.Family + " " + e.Table + " " + e.Chain
		if e.Own {
			where = "own " + e.Family + " " + e.Chain
		}
		if e.Own && e.Packet == nil || e.Packet != nil && (e.Packet.From.Port() == 80 || e.Packet.Neighbour) {
			continue // the mark's own rule, answers, and questions of ARP
		}
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s: %s %s", where, e.Verdict, e.Target)))
	}
	return lines
}

func TestTrace(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		pod := netnstest.NewPod(t, "pod")
		ip(t, "", "link add br0 type bridge")
		ip(t, "", "link set br0 up")
		ip(t, "", "link add v0 master br0 type veth peer name eth0 netns pod")
		ip(t, "", "link set v0 up")
		ip(t, "", "addr add 10.1.0.1/24 dev br0")
		ip(t, "pod", "link set eth0 up")
		ip(t, "pod", "addr add 10.1.0.2/24 dev eth0")
		run(t, "nft", "add table inet x { chain in { type filter hook input priority 0; meta mark set 7; jump more; }; chain more { tcp dport 80 drop; }; }")
		before := ruleset(t)
		want := []string{
			"own bridge prerouting: continue", "own inet prerouting: continue", "own inet arrived: continue",
			"inet x in: continue", "inet x in: jump more", "inet x more: drop",
		}
		if diff := cmp.Diff(want, tracedEvents(t, pod)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		sameRuleset(t, before)
	})
}

func TestDropTraces(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		before := ruleset(t)
		for _, name := range []string{"inet seam-trace-999999999", "bridge seam-trace-999999999"} {
			run(t, append([]string{"nft", "add", "table"}, strings.Fields(name)...)...)
		}
		got, err := nft.DropTraces()
		must(t, err)
		if diff := cmp.Diff([]string{"inet seam-trace-999999999", "bridge seam-trace-999999999"}, got); diff != "" {
			t.Errorf("dropped (-want +got):\n%s", diff)
		}
		sameRuleset(t, before)
		run(t, "nft", "add", "table", "inet", "seam-trace-1") // a process that lives
		if got, err := nft.DropTraces(); err != nil || len(got) > 0 {
			t.Errorf("dropped %v, %v of a trace that goes on", got, err)
		}
	})
}
