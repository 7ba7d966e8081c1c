package plugins_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/conformance"
	"github.com/seamnet/seam/link"
)

func TestNetworkMisfits(t *testing.T) {
	t.Parallel()
	const failed, lacking, differs = conformance.Failed, conformance.Lacking, conformance.Differs
	findAll(t, []misfit{
		{"stops-neighbours", "", "network/pod-to-pod", failed, "from pod1"},
		{"hides-pods", "", "network/pod-to-host", failed, "it should see"},
		{"stops-host", "", "network/host-to-pod", failed, "from the host"},
		{"stops-forward", "", "network/egress", failed, "from pod1 to 192.0.2.1:7007"},
		{"stops-forward", "", "network/at-once", lacking, "when ADD has returned"},
		{"stops-forward", "", "network/outside-to-pod", differs, "from outside"},
		{"deaf", `"ipMasq":true,`, "network/masquerade", failed, "from pod1"},
		{"hides-pods", "", "network/no-masquerade", failed, "it should see"},
		{"ends-others", "", "network/second-network", lacking, "that was after DEL of another network"},
		{"stops-big", "", "network/mtu", failed, "udp"},
		{"narrows", "", "network/mtu", failed, "message too long"},
		{"hides-narrowness", "", "network/path-mtu", differs, "tcp"},
		{"stops-big", "", "network/transfer", failed, "bytes"},
		{"is-full", "", "network/many-pods", failed, "20 of 30"},
		{"deaf", `"portIsolation":true,`, "network/port-isolation", failed, "there should be none"},
		{"deaf", `"macspoofchk":true,`, "network/forged-mac", failed, "there should be none"},
		{"chained-idle", `"ingressPolicy":"same-bridge",`, "network/same-bridge", failed, "it is of another bridge"},
		{"chained-idle", `"ingressPolicy":"isolated",`, "network/isolated", failed, "ingressPolicy is isolated"},
	})
}

func TestPortMisfits(t *testing.T) {
	t.Parallel()
	const failed, lacking, differs = conformance.Failed, conformance.Lacking, conformance.Differs
	const ports = `"capabilities":{"portMappings":true},`
	findAll(t, []misfit{
		{"chained-idle", ports, "network/port-from-outside", failed, "from outside to 192.0.2.2:18080"},
		{"chained-hides", ports, "network/port-source", lacking, "it should see one of [192.0.2.1]"},
		{"chained-idle", ports, "network/port-from-host", lacking, "from the host"},
		{"chained-idle", ports, "network/port-from-localhost", lacking, "to 127.0.0.1:18080"},
		{"chained-idle", ports, "network/port-from-localhost6", differs, "to [::1]:18080"},
		{"chained-idle", ports, "network/port-from-pod", lacking, "from pod2"},
		{"chained-idle", ports, "network/port-hairpin", lacking, "from pod1"},
		{"chained-anywhere", ports, "network/port-host-ip", failed, "there should be none"},
		{"chained-first", ports, "network/ports-of-two", failed, "to 192.0.2.2:18081"},
		{"chained-keeps", ports, "network/port-closed", failed, "192.0.2.2:18080"},
		{"chained-first", ports, "network/port-moves", lacking, "took the place of"},
		{"chained-remembers", ports, "network/port-moves", lacking, "took the place of"},
	})
}

// firewalls are what a host's rules can do wrong. A probe's port is 7007.
func firewalls() map[string]string {
	return map[string]string{
		"hides-pods": `table inet wrong {
			chain in { type nat hook input priority 100; iifname "conform0" ip saddr 10.77.0.0/24 snat ip to 192.0.2.77; }
			chain out { type nat hook postrouting priority 100; oifname "eth0" ip saddr 10.77.0.0/24 masquerade; }
		}`,
		"stops-host":       `table inet wrong { chain out { type filter hook output priority 0; oifname "conform0" tcp dport 7007 reject with tcp reset; }; }`,
		"stops-forward":    `table inet wrong { chain f { type filter hook forward priority 0; tcp dport 7007 reject with tcp reset; }; }`,
		"hides-narrowness": `table inet wrong { chain out { type filter hook output priority 0; icmp type destination-unreachable drop; icmpv6 type packet-too-big drop; }; }`,
		"stops-big": `table inet wrong {
			chain in { type filter hook input priority 0; meta length > 1400 meta l4proto tcp reject with tcp reset; }
			chain out { type filter hook output priority 0; meta length > 1400 meta l4proto tcp reject with tcp reset; meta length > 1400 meta l4proto udp reject; }
		}`,
	}
}

// crookedChained returns plugins that come after the bridge.
func crookedChained(portmap cni.Plugin) cni.Registry {
	idle := func(_ context.Context, r *cni.Request) (*cni.Result, error) { return r.Prev.Clone(), nil }
	none := func(context.Context, *cni.Request) error { return nil }
	return cni.Registry{
		"idle":  broken{Plugin: portmap, add: idle, del: none},
		"keeps": broken{Plugin: portmap, del: none},
		"hides": broken{Plugin: portmap, add: func(ctx context.Context, r *cni.Request) (*cni.Result, error) {
			err := firewall(`table inet wrong { chain out { type nat hook postrouting priority 100; oifname "conform0" masquerade; }; }`)
			result, addErr := portmap.Add(ctx, r)
			return result, errors.Join(err, addErr)
		}},
		"anywhere": broken{Plugin: portmap, add: func(ctx context.Context, r *cni.Request) (*cni.Result, error) {
			open := *r
			open.Config.JSON = []byte(strings.NewReplacer(`,"hostIP":"127.0.0.1"`, "", `,"hostIP":"192.0.2.2"`, "").Replace(string(r.Config.JSON)))
			return portmap.Add(ctx, &open)
		}},
		"remembers": broken{Plugin: portmap, add: stale, del: func(context.Context, *cni.Request) error {
			return firewall("table inet stale {}; delete table inet stale")
		}},
		"first": broken{Plugin: portmap, add: func(ctx context.Context, r *cni.Request) (*cni.Result, error) {
			if number(r) != "1" {
				return idle(ctx, r)
			}
			return portmap.Add(ctx, r)
		}},
	}
}

// stale forwards UDP as portmap does, but leaves flows to whom they led before.
func stale(_ context.Context, r *cni.Request) (*cni.Result, error) {
	rules := "table inet stale { chain in { type nat hook prerouting priority -100; "
	for _, ip := range r.Prev.PodIPs(r.IfName) {
		match := "meta nfproto ipv4 udp dport 18080 dnat ip to"
		if ip.Address.Addr().Is6() {
			match = "meta nfproto ipv6 udp dport 18080 dnat ip6 to"
		}
		rules += fmt.Sprintf("%s %v; ", match, netip.AddrPortFrom(ip.Address.Addr(), 7007))
	}
	return r.Prev.Clone(), firewall(rules + "}; }")
}

// crookedNetworks are the bridge, but for what concerns other pods.
func crookedNetworks(bridge cni.Plugin) cni.Registry {
	return cni.Registry{
		"ends-others": broken{Plugin: bridge, del: func(ctx context.Context, r *cni.Request) error {
			err := bridge.Del(ctx, r)
			return errors.Join(err, host(func(h *link.Handle) error { return h.Set(link.Link{Name: "conform0"}, link.Change{Down: true}) }))
		}},
		"is-full": broken{Plugin: bridge, add: func(ctx context.Context, r *cni.Request) (*cni.Result, error) {
			if len(number(r)) > 1 && number(r) != "10" {
				return nil, cni.Untouched(errors.New("there is no room"))
			}
			return bridge.Add(ctx, r)
		}},
	}
}
