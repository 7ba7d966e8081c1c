package nft_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/netns/netnstest"
)

// What iptables itself shows, so that it reads what Seam wrote.
func TestAdmitForward(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		table := open(t)
		rules := func(command string) string { return run(t, command, "-S") }
		same := func(command, want string) {
			t.Helper()
			if diff := cmp.Diff(want, rules(command)); diff != "" {
				t.Errorf("%s -S (-want +got):\n%s", command, diff)
			}
		}

		must(t, table.AdmitForward("cni0"))
		if got := run(t, "nft", "list", "ruleset"); got != "" {
			t.Fatalf("a host without iptables was touched:\n%s", got)
		}
		run(t, "iptables", "-A", "FORWARD", "-s", "192.0.2.1", "-m", "comment", "--comment", "foreign", "-j", "DROP")
		run(t, "ip6tables", "-P", "FORWARD", "DROP")
		accepting := rules("iptables")
		closed := rules("ip6tables")
		must(t, table.AdmitForward("cni0"))
		same("iptables", accepting)

		run(t, "iptables", "-P", "FORWARD", "DROP")
		dropping := rules("iptables")
		must(t, table.AdmitForward("cni0"))
		must(t, table.AdmitForward("cni0"))
		want := `-P INPUT ACCEPT
-P FORWARD DROP
-P OUTPUT ACCEPT
-N SEAM-cni0
-A FORWARD -j SEAM-cni0
-A FORWARD -s 192.0.2.1/32 -m comment --comment foreign -j DROP
-A SEAM-cni0 -i cni0 -j ACCEPT
-A SEAM-cni0 -o cni0 -j ACCEPT
`
		same("iptables", want)
		must(t, table.AdmitForward("vs+"))
		if got := rules("iptables"); !strings.Contains(got, "-A SEAM-vs+ -i vs+ -j ACCEPT") {
			t.Errorf("wildcard:\n%s", got)
		}
		must(t, table.RevokeForward("vs+"))

		// Someone else's changes are made good by the next call.
		for _, damage := range [][]string{
			{"-F", "FORWARD"}, {"-F", "SEAM-cni0"}, {"-D", "SEAM-cni0", "1"}, {"-F"},
		} {
			run(t, append([]string{"iptables"}, damage...)...)
			if damage[0] == "-F" && len(damage) == 1 || damage[1] == "FORWARD" {
				run(t, "iptables", "-A", "FORWARD", "-s", "192.0.2.1", "-m", "comment", "--comment", "foreign", "-j", "DROP")
			}
			must(t, table.AdmitForward("cni0"))
			same("iptables", want)
		}
		must(t, table.RevokeForward("cni0"))
		must(t, table.RevokeForward("cni0"))
		same("iptables", dropping)
		same("ip6tables", closed)
	})
}
