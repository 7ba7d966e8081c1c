package firewall_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/plugintest"
	"github.com/seamnet/seam/plugin/portmap"
)

// Who reaches whom. Port 8080 of the host is published by a1, and "port" is that way.
var ways = []string{
	"host a1", "outside port", "outside a1", "a1 outside",
	"a1 a2", "a2 port", "a1 b1", "b1 a1", "b1 port", "c1 a1", "a1 c1",
}

// reached are the ways of those that pass under each policy of bra and brb, brc being
// open, as the reference plugin's rules have it.
var reached = map[string][]string{
	"open":        ways,
	"same-bridge": {"host a1", "outside port", "outside a1", "a1 outside", "a1 a2", "a2 port", "c1 a1", "a1 c1"},
	"isolated":    {"host a1", "outside port", "outside a1", "a1 outside", "c1 a1", "a1 c1"},
}

// behindDrop are those that pass where the policy of FORWARD is to drop: what pods open.
var behindDrop = map[string][]string{
	"open":        {"host a1", "a1 outside", "a1 a2", "a2 port", "a1 b1", "b1 a1", "b1 port", "c1 a1", "a1 c1"},
	"same-bridge": {"host a1", "a1 outside", "a1 a2", "a2 port", "c1 a1", "a1 c1"},
	"isolated":    {"host a1", "a1 outside", "c1 a1", "a1 c1"},
}

func (w *world) expect(when string, pods map[string]pod, want []string) {
	w.t.Helper()
	results := make(chan string, len(ways))
	for _, way := range ways {
		go func() {
			from, to, _ := strings.Cut(way, " ")
			var client *netnstest.Pod
			switch from {
			case "host":
			case "outside":
				client = w.outside
			default:
				client = pods[from].Pod
			}
			target := map[string]string{"port": "192.0.2.1:8080", "outside": "192.0.2.9:80"}[to]
			if target == "" {
				target = pods[to].addr + ":80"
			}
			if !connects(client, target) {
				way = ""
			}
			results <- way
		}()
	}
	got := make([]string, 0, len(ways))
	for range ways {
		if way := <-results; way != "" {
			got = append(got, way)
		}
	}
	want = slices.Clone(want)
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("%s: who reaches whom (-want +got):\n%s", when, diff)
	}
}

// policies attaches four pods under each policy, and looks who reaches whom.
func policies(t *testing.T, p implementation, keys string, want map[string][]string) {
	t.Helper()
	w := newWorld(t)
	pods := make(map[string]pod)
	for _, name := range []string{"a1", "a2", "b1", "c1"} {
		pods[name] = w.pod(name)
	}
	h := plugintest.Host(t)
	publish := plugintest.Request(t, `{"cniVersion":"1.0.0","name":"net","type":"portmap","runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]}}`, pods["a1"].Pod, "a1", nil)
	publish.Prev = pods["a1"].result
	_, err := portmap.New(h).Add(ctx, publish)
	must(t, err)
	_, ref := p.(reference)
	if keys == nftablesKeys { // once made, the tables stay
		r := request(t, keys+`,"ingressPolicy":"isolated"`, "a1", pods["a1"].result)
		_, err := p.Add(ctx, r)
		must(t, err)
		must(t, p.Del(ctx, r))
	}
	before := removeAdmissions(t)
	for _, policy := range []string{"open", "same-bridge", "isolated"} {
		for name, pod := range pods {
			k := keys + `,"ingressPolicy":"` + policy + `"`
			if name == "c1" {
				k = keys
			}
			_, err := p.Add(ctx, request(t, k, name, pod.result))
			must(t, err)
			must(t, p.Check(ctx, request(t, k, name, pod.result)))
		}
		w.expect(policy, pods, want[policy])
		for name := range pods {
			r := request(t, keys, name, nil)
			if ref {
				r.Prev = pods[name].result
			}
			must(t, p.Del(ctx, r))
		}
		if keys == nftablesKeys {
			if diff := cmp.Diff(before, removeAdmissions(t)); diff != "" {
				t.Errorf("%s: left behind (-before +after):\n%s", policy, diff)
			}
		}
	}
}

const (
	nftablesKeys = `,"backend":"nftables"`
	iptablesKeys = `,"backend":"iptables"`
)

// removeAdmissions removes what goes with a bridge, and returns the state.
func removeAdmissions(t *testing.T) string {
	t.Helper()
	table, err := plugintest.Host(t).Table()
	must(t, err)
	for _, bridge := range []string{"bra", "brb", "brc"} {
		must(t, table.RevokeForward(bridge))
	}
	return plugintest.State(t)
}

func TestPolicyNFTables(t *testing.T) {
	t.Parallel()
	netnstest.Host(t, func(t *testing.T) { policies(t, seam(t), nftablesKeys, reached) })
}

// Without br_netfilter's help, with which the reference's isolation stands and falls.
func TestPolicyNFTablesBridge(t *testing.T) {
	t.Parallel()
	netnstest.Host(t, func(t *testing.T) {
		if _, err := plugintest.Try(nil, "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=0"); err != nil {
			t.Log("no br_netfilter to switch off")
		}
		policies(t, seam(t), nftablesKeys, reached)
	})
}

// Beside Docker or ufw, the forwarding of the bridges is admitted whole.
func TestPolicyNFTablesDrop(t *testing.T) {
	t.Parallel()
	netnstest.Host(t, func(t *testing.T) {
		plugintest.Run(t, nil, "iptables", "-P", "FORWARD", "DROP")
		policies(t, seam(t), nftablesKeys, reached)
	})
}

// The isolation of iptables needs br_netfilter for what stays within a bridge.
func inBridge(t *testing.T) {
	t.Helper()
	if out, err := plugintest.Try(nil, "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1"); err != nil {
		t.Skipf("this kernel has no br_netfilter: %s", out)
	}
}

func TestPolicyIPTables(t *testing.T) {
	t.Parallel()
	netnstest.Host(t, func(t *testing.T) {
		inBridge(t)
		policies(t, seam(t), iptablesKeys, reached)
	})
}

func TestPolicyIPTablesDrop(t *testing.T) {
	t.Parallel()
	netnstest.Host(t, func(t *testing.T) {
		inBridge(t)
		plugintest.Run(t, nil, "iptables", "-P", "FORWARD", "DROP")
		policies(t, seam(t), iptablesKeys, behindDrop)
	})
}

func TestPolicyLegacy(t *testing.T) {
	t.Parallel()
	netnstest.Host(t, func(t *testing.T) {
		inBridge(t)
		useLegacy(t)
		plugintest.Run(t, nil, "iptables", "-P", "FORWARD", "DROP")
		policies(t, seam(t), "", behindDrop)
	})
}

// The tables above are the reference's own behaviour.
func TestPolicyReference(t *testing.T)     { ofReference(t, "ACCEPT", reached) }
func TestPolicyReferenceDrop(t *testing.T) { ofReference(t, "DROP", behindDrop) }

func ofReference(t *testing.T, forward string, want map[string][]string) {
	t.Parallel()
	netnstest.Host(t, func(t *testing.T) {
		ref := theReference(t)
		if ref == nil {
			t.Skip("needs the reference plugin")
		}
		inBridge(t)
		plugintest.Run(t, nil, "iptables", "-P", "FORWARD", forward)
		policies(t, ref, iptablesKeys, want)
	})
}
