package link

import (
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/netns/netnstest"
	"golang.org/x/sys/unix"
)

// tracked are flows by name, as conntrack makes them.
var tracked = map[string]string{
	"dns":      "-p udp -s 192.0.2.9 -d 192.0.2.1 --sport 5000 --dport 53 -r 10.1.0.2 -q 192.0.2.9 --reply-port-src 5353 --reply-port-dst 5000",
	"dns too":  "-p udp -s 192.0.2.9 -d 192.0.2.2 --sport 5001 --dport 53 -r 10.1.0.3 -q 192.0.2.9 --reply-port-src 5353 --reply-port-dst 5001",
	"dns tcp":  "-p tcp -s 192.0.2.9 -d 192.0.2.1 --sport 5002 --dport 53 -r 10.1.0.2 -q 192.0.2.9 --reply-port-src 5353 --reply-port-dst 5002 --state ESTABLISHED",
	"other":    "-p udp -s 192.0.2.9 -d 192.0.2.1 --sport 53 --dport 54 -r 192.0.2.1 -q 192.0.2.9 --reply-port-src 54 --reply-port-dst 53",
	"ipv6 too": "-p tcp -s 2001:db8::9 -d 2001:db8::1 --sport 5000 --dport 80 -r fd00::3 -q 2001:db8::9 --reply-port-src 5353 --reply-port-dst 5000 --state ESTABLISHED",
	"dns ipv6": "-p udp -s 2001:db8::9 -d 2001:db8::1 --sport 5000 --dport 53 -r fd00::2 -q 2001:db8::9 --reply-port-src 5353 --reply-port-dst 5000",
}

func track(t *testing.T) {
	t.Helper()
	conntrack(t, "-F")
	for _, flow := range tracked {
		conntrack(t, append([]string{"-I", "-t", "100"}, strings.Fields(flow)...)...)
	}
}

func conntrack(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("conntrack", args...).Output()
	if err != nil {
		t.Fatalf("conntrack %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// remaining are the names of the flows that are there.
func remaining(t *testing.T) (names []string) {
	t.Helper()
	list := conntrack(t, "-L") + conntrack(t, "-L", "-f", "ipv6")
	for name, flow := range tracked {
		words := strings.Fields(flow)
		at := func(option string) string { return words[slices.Index(words, option)+1] }
		found := func(line string) bool {
			return strings.HasPrefix(line, at("-p")) && strings.Contains(line, "src="+at("-s")+" ") &&
				strings.Contains(line, "dst="+at("-d")+" sport="+at("--sport")+" dport="+at("--dport")+" ")
		}
		if slices.ContainsFunc(strings.Split(list, "\n"), found) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func TestDeleteFlows(t *testing.T) {
	tests := []struct {
		name  string
		flows Flows
		gone  []string
	}{
		{"port", Flows{Protocol: unix.IPPROTO_UDP, DstPort: 53}, []string{"dns", "dns too"}},
		{"port of an address", Flows{Protocol: unix.IPPROTO_UDP, DstPort: 53, Dst: netip.MustParseAddr("192.0.2.2")}, []string{"dns too"}},
		{"port over ipv6", Flows{IPv6: true, Protocol: unix.IPPROTO_UDP, DstPort: 53}, []string{"dns ipv6"}},
		{"pod", Flows{Answerer: netip.MustParseAddr("10.1.0.2")}, []string{"dns", "dns tcp"}},
		{"pod's port", Flows{Answerer: netip.MustParseAddr("10.1.0.2"), Protocol: unix.IPPROTO_TCP, AnswererPort: 5353}, []string{"dns tcp"}},
		{"pod over ipv6", Flows{IPv6: true, Answerer: netip.MustParseAddr("fd00::2")}, []string{"dns ipv6"}},
		{"none", Flows{Answerer: netip.MustParseAddr("10.9.9.9")}, nil},
	}
	ways := map[string]func(Flows) error{
		"by DeleteFlows": func(f Flows) error { return DeleteFlows(f) },
		"listed":         Flows.deleteListed,
		// As a kernel before 5.8 takes it, that knows no filter.
		"listed whole": func(f Flows) error { return f.deleteMatching(f.newRequest(ctGet, unix.NLM_F_DUMP)) },
	}
	netnstest.Host(t, func(t *testing.T) {
		for way, deleteFlows := range ways {
			for _, tt := range tests {
				t.Run(way+"/"+tt.name, func(t *testing.T) {
					track(t)
					if err := deleteFlows(tt.flows); err != nil {
						t.Fatal(err)
					}
					var want []string
					for name := range tracked {
						if !slices.Contains(tt.gone, name) {
							want = append(want, name)
						}
					}
					slices.Sort(want)
					if diff := cmp.Diff(want, remaining(t)); diff != "" {
						t.Errorf("remaining (-want +got):\n%s", diff)
					}
				})
			}
		}
		track(t)
		if err := DeleteFlows(Flows{IPv6: true}); err == nil {
			t.Error("flows without a criterion: no error")
		}
		if got := remaining(t); len(got) != len(tracked) {
			t.Errorf("flows without a criterion: %v remain", got)
		}
		want := "ipv4 proto 17 dst 192.0.2.1 dport 53 reply-src 10.0.0.1 reply-sport 54"
		got := Flows{Protocol: 17, Dst: netip.MustParseAddr("192.0.2.1"), DstPort: 53, Answerer: netip.MustParseAddr("10.0.0.1"), AnswererPort: 54}.String()
		if got != want {
			t.Errorf("String: %s, want %s", got, want)
		}
	})
}

func BenchmarkDeleteFlows(b *testing.B) {
	for b.Loop() {
		if err := DeleteFlows(Flows{Protocol: unix.IPPROTO_UDP, DstPort: 1}); err != nil {
			b.Fatal(err)
		}
	}
}
