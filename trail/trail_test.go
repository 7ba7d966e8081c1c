package trail_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/nft"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/all"
	"github.com/seamnet/seam/plugin/plugintest"
	"github.com/seamnet/seam/trail"
)

// A world is a host with networks, and a machine outside at 192.0.2.2 and 2001:db8::2.
type world struct {
	*testing.T
	host    *plugin.Host
	rt      *seam.Runtime
	outside *netnstest.Pod
	ends    map[string]trail.End
}

func newWorld(t *testing.T) *world {
	t.Helper()
	host := plugintest.Host(t)
	w := &world{T: t, host: host, ends: make(map[string]trail.End)}
	w.rt = &seam.Runtime{Plugins: all.Registry(host), CacheDir: t.TempDir()}
	w.outside = plugintest.LAN(t, nil, "wan")
	for _, args := range []string{"addr add 192.0.2.1/24 dev wan", "addr add 2001:db8::1/64 dev wan nodad", "route add default via 192.0.2.2"} {
		plugintest.Run(t, nil, "ip", strings.Fields(args)...)
	}
	for _, args := range []string{"addr add 192.0.2.2/24 dev eth0", "addr add 2001:db8::2/64 dev eth0 nodad", "addr add 203.0.113.9/32 dev lo",
		"route add 10.5.0.0/16 via 192.0.2.1"} {
		plugintest.Run(t, w.outside, "ip", strings.Fields(args)...)
	}
	return w
}

const (
	bridge = `{"type": "bridge", "bridge": "br-NET", "isDefaultGateway": true, "ipMasq": true%s,
		"ipam": {"type": "host-local", "ranges": [[{"subnet": "10.5.NUMBER.0/24"}], [{"subnet": "fd00:5:NUMBER::/64"}]]}}`
	portmap  = `, {"type": "portmap", "capabilities": {"portMappings": true}}`
	firewall = `, {"type": "firewall", "ingressPolicy": %q, "backend": "nftables"}`
)

// add attaches a container, called as a pod's namespace, to a network of the plugins.
func (w *world) add(network, name, plugins string, ports ...cni.PortMapping) *netnstest.Pod {
	w.Helper()
	number := fmt.Sprint(network[len(network)-1] - '0')
	list := strings.NewReplacer("NET", network, "NUMBER", number).Replace(plugins)
	n, err := seam.Parse([]byte(`{"cniVersion": "1.1.0", "name": "`+network+`", "plugins": [`+list+`]}`), "")
	plugintest.Must(w, err)
	pod := netnstest.NewPod(w.T, name)
	c := seam.Container{ID: name, IfName: "eth0", NetNS: pod.Path}
	if len(ports) > 0 {
		value, err := json.Marshal(ports)
		plugintest.Must(w, err)
		c.Capabilities = map[string]json.RawMessage{cni.CapabilityPorts: value}
	}
	result, err := w.rt.Attach(w.Context(), n, c)
	plugintest.Must(w, err)
	w.Cleanup(func() { plugintest.Must(w, w.rt.Detach(context.Background(), n, c)) })
	end := trail.End{Tag: c.Attachment(network).Tag(), NS: pod.NS, IfName: "eth0"}
	for _, ip := range result.PodIPs("eth0") {
		end.Addresses = append(end.Addresses, ip.Address.Addr())
	}
	w.ends[name] = end
	return pod
}

// ask is a question from the container to an address and a port of TCP.
func (w *world) ask(name, to string) trail.Question {
	return trail.Question{
		End: w.ends[name], Origin: trail.FromContainer, To: netip.MustParseAddrPort(to),
		Protocol: unix.IPPROTO_TCP, Probe: true, Wait: 400 * time.Millisecond,
	}
}

// explain answers the question, and fails the test if the firewall is not as it was.
func (w *world) explain(q trail.Question) *trail.Way {
	w.Helper()
	before := firewallText(w)
	links, err := w.host.Links()
	plugintest.Must(w, err)
	table, err := w.host.Table()
	plugintest.Must(w, err)
	way, err := trail.Explain(w.Context(), trail.Host{Links: links, Table: table, Foreign: foreign}, q)
	plugintest.Must(w, err)
	if diff := cmp.Diff(before, firewallText(w)); diff != "" {
		w.Errorf("the host has changed (-before +after):\n%s", diff)
	}
	return way
}

func firewallText(t testing.TB) string {
	return plugintest.Run(t, nil, "nft", "-s", "list", "ruleset") + plugintest.Run(t, nil, "ip", "-br", "link")
}

// foreign finds a rule's text as the command line does, in short.
func foreign(e nft.Event, pod *netns.Namespace) string {
	var out []byte
	list := func() (err error) {
		out, err = exec.Command("nft", "-a", "list", "chain", e.Family, e.Table, e.Chain).Output()
		return err
	}
	if pod != nil {
		_ = pod.Do(list)
	} else {
		_ = list()
	}
	for line := range strings.Lines(string(out)) {
		if rule, ok := strings.CutSuffix(strings.TrimSpace(line), fmt.Sprintf(" # handle %d", e.Handle)); ok {
			return rule
		}
	}
	return ""
}

// serve listens in a pod until the test ends.
func serve(t *testing.T, pod *netnstest.Pod, addr string) {
	t.Helper()
	var l net.Listener
	plugintest.Must(t, pod.NS.Do(func() (err error) {
		l, err = net.Listen("tcp", addr)
		return err
	}))
	t.Cleanup(func() { l.Close() })
}

// text is what people read of a way; numbers that differ each time are left out.
func text(w *trail.Way) string {
	var b strings.Builder
	for _, s := range w.Steps {
		fmt.Fprintf(&b, "%s: %s: %s", s.Where, s.Kind, s.Text)
		if s.Rule != nil {
			fmt.Fprintf(&b, " (%s %s %s: %s) %v", s.Rule.Family, s.Rule.Table, s.Rule.Chain, s.Rule, s.Rule.Wanted)
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "%s %s\n%s\n%s\n", w.Outcome, w.Detail, strings.Join(w.Hints, "\n"), strings.Join(w.Notes, "\n"))
	return b.String()
}

// wants fails the test unless the way has the outcome and all the words, in that order.
func (w *world) wants(way *trail.Way, outcome trail.Outcome, words ...string) {
	w.Helper()
	rest := text(way)
	if way.Outcome != outcome || len(way.Notes) > 0 {
		w.Errorf("outcome %q, want %q, of\n%s", way.Outcome, outcome, rest)
	}
	for _, word := range words {
		_, after, ok := strings.Cut(rest, word)
		if !ok {
			w.Errorf("lacks %q, in this order, in\n%s", word, text(way))
			return
		}
		rest = after
	}
	if dropped := slices.ContainsFunc(way.Steps, func(s trail.Step) bool { return s.Dropped }); dropped != way.Dropped {
		w.Errorf("dropped is %t of\n%s", way.Dropped, text(way))
	}
}

func nftables(t testing.TB, rules string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rules")
	plugintest.Must(t, os.WriteFile(file, []byte(rules), 0o600))
	plugintest.Run(t, nil, "nft", "-f", file)
}

func sysctl(t testing.TB, setting string) { plugintest.Run(t, nil, "sysctl", "-qw", setting) }

func TestBetweenContainers(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		w.add("net1", "web", fmt.Sprintf(bridge, ""))
		db := w.add("net1", "db", fmt.Sprintf(bridge, ""))
		w.add("net2", "far", fmt.Sprintf(bridge, ""))
		serve(t, db, ":80")
		w.wants(w.explain(w.ask("web", "10.5.1.3:80")), trail.Connected, "route: 10.5.1.0/24 dev eth0", "host: link: veth", "port of br-net1",
			"bridge: port: forwarded as a frame", "of net1/db/eth0", "delivery: comes in at net1/db/eth0")
		w.wants(w.explain(w.ask("web", "[fd00:5:1::3]:80")), trail.Connected, "comes in at net1/db/eth0")
		for _, shown := range []string{"0", "1"} { // to the rules of IP, where the kernel can
			_, _ = plugintest.Try(nil, "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables="+shown)
			w.wants(w.explain(w.ask("web", "10.5.1.3:80")), trail.Connected, "bridge: port: forwarded as a frame", "comes in at net1/db/eth0")
		}
		w.wants(w.explain(w.ask("web", "10.5.1.3:81")), trail.Refused, "comes in at net1/db/eth0", "nothing listens on 10.5.1.3:81")
		w.wants(w.explain(w.ask("far", "10.5.1.3:80")), trail.Connected, "default via 10.5.2.1 dev eth0", "comes in by br-net2",
			"10.5.1.0/24 dev br-net1", "ip saddr vmap @masq4) [bridge of net2/far/eth0]",
			"source 10.5.2.2", "becomes 10.5.1.1", "masquerade", "comes in at net1/db/eth0")
		w.wants(w.explain(w.ask("web", "10.5.1.77:80")), trail.NoAnswer, "drop: 10.5.1.77 does not answer on eth0")
		ping := w.ask("web", "10.5.1.3:0")
		ping.Protocol = 0
		w.wants(w.explain(ping), trail.Answered, "comes in at net1/db/eth0")
	})
}

func TestOutside(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		web := w.add("net1", "web", fmt.Sprintf(bridge, ""))
		serve(t, w.outside, ":80")
		w.wants(w.explain(w.ask("web", "203.0.113.9:80")), trail.Connected, "default via 10.5.1.1", "comes in by br-net1",
			"default via 192.0.2.2 dev wan", "source 10.5.1.2", "becomes 192.0.2.1", "(inet seam masq-", ": masquerade) [bridge of net1/web/eth0]",
			"192.0.2.2 is at", "outside: delivery: leaves the host by wan")
		w.wants(w.explain(w.ask("web", "[2001:db8::2]:80")), trail.Connected, "becomes [2001:db8::1]", "leaves the host by wan")
		udp := w.ask("web", "203.0.113.9:53")
		udp.Protocol = unix.IPPROTO_UDP
		w.wants(w.explain(udp), trail.Refused, "leaves the host by wan", "connection refused")
		looked := w.ask("web", "203.0.113.9:80")
		looked.Probe = false
		w.wants(w.explain(looked), trail.NotSent, "default via 192.0.2.2 dev wan", "translation: source 10.5.1.2 becomes the address of the link", "leaves the host by wan")

		// The middle link takes less than the first.
		plugintest.Run(t, nil, "ip", "link", "set", "wan", "mtu", "1300")
		w.wants(w.explain(w.ask("web", "203.0.113.9:80")), trail.Connected, "wan, veth, mtu 1300", "more than 1300 bytes are too large for wan, and eth0 sends up to 1500")
		plugintest.Run(t, nil, "ip", "link", "set", "wan", "mtu", "1500")

		// An address that answers would not come back to.
		plugintest.Run(t, web, "ip", "addr", "add", "198.51.100.9/32", "dev", "eth0")
		sysctl(t, "net.ipv4.conf.br-net1.rp_filter=1")
		strange := w.ask("web", "203.0.113.9:80")
		strange.From = netip.MustParseAddr("198.51.100.9")
		w.wants(w.explain(strange), trail.NoAnswer, "drop: the reverse path filter", "net.ipv4.conf.br-net1.rp_filter")

		sysctl(t, "net.ipv4.ip_forward=0")
		w.wants(w.explain(w.ask("web", "203.0.113.9:80")), trail.NoAnswer, "comes in by br-net1", "drop: the host does not forward", "sysctl -w net.ipv4.ip_forward=1")
		w.wants(w.explain(looked), trail.NotSent, "drop: the host does not forward")
		sysctl(t, "net.ipv4.ip_forward=1")
		sysctl(t, "net.ipv6.conf.all.forwarding=0")
		w.wants(w.explain(w.ask("web", "[2001:db8::2]:80")), trail.NoAnswer, "drop: the host does not forward", "net.ipv6.conf.all.forwarding=1")
		plugintest.Run(t, nil, "ip", "route", "del", "default")
		w.wants(w.explain(w.ask("web", "203.0.113.9:80")), trail.Unreachable, "host: drop: no route to 203.0.113.9", "network is unreachable", "the host's routes do not lead there")
	})
}

func TestPublishedPort(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		web := w.add("net1", "web", fmt.Sprintf(bridge, "")+portmap, cni.PortMapping{HostPort: 8080, ContainerPort: 80, Protocol: "tcp"})
		serve(t, web, ":80")
		netnstest.Up(t, web.NS, "lo")
		serve(t, web, "127.0.0.1:90")
		q := w.ask("web", "192.0.2.1:8080")
		w.wants(w.explain(q), trail.Connected, "destination 192.0.2.1:8080 becomes 10.5.1.2:80", "dnat", "[portmap of net1/web/eth0]",
			"10.5.1.0/24 dev br-net1", "source 10.5.1.2", "becomes 10.5.1.1", "hairpin-", "comes in by eth0")
		q.Origin = trail.FromHost
		w.wants(w.explain(q), trail.Connected, "destination 192.0.2.1:8080 becomes 10.5.1.2:80 (inet seam hostports: dnat", "comes in by eth0")
		alone := q
		alone.To = netip.MustParseAddrPort("10.5.1.2:90")
		w.wants(w.explain(alone), trail.Refused, "comes in by eth0", "nothing listens on 10.5.1.2:90: only on 127.0.0.1")
		q.Origin, q.From = trail.FromOutside, netip.MustParseAddr("203.0.113.9")
		w.wants(w.explain(q), trail.Connected, "outside: link: arrives at the host by wan", "comes in by wan",
			"destination 192.0.2.1:8080 becomes 10.5.1.2:80", "10.5.1.0/24 dev br-net1", "comes in by eth0")
		looked := q
		looked.Probe = false
		w.wants(w.explain(looked), trail.NotSent, "destination 192.0.2.1:8080 becomes 10.5.1.2:80: a port published by portmap of net1/web/eth0", "comes in by eth0")
		six := q
		six.From, six.To = netip.MustParseAddr("2001:db8::2"), netip.MustParseAddrPort("[2001:db8::1]:8080")
		w.wants(w.explain(six), trail.Connected, "becomes [fd00:5:1::2]:80", "comes in by eth0")
		q.To = netip.MustParseAddrPort("192.0.2.1:8081")
		w.wants(w.explain(q), trail.Refused, "host: delivery: the host itself", "no attachment publishes it")

	})
}

func TestDropped(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		w.add("net1", "web", fmt.Sprintf(bridge+firewall, "", "same-bridge"))
		far := w.add("net2", "far", fmt.Sprintf(bridge+firewall, "", "same-bridge"))
		w.add("net3", "alone", fmt.Sprintf(bridge+firewall, "", "isolated"))
		w.add("net3", "other", fmt.Sprintf(bridge+firewall, "", "isolated"))
		w.wants(w.explain(w.ask("web", "10.5.2.2:80")), trail.NoAnswer, "dropped by iifname @walled", "of inet seam/forward",
			"[firewall for link br-net", "Seam drops it because of plugin firewall")
		w.wants(w.explain(w.ask("alone", "10.5.3.3:80")), trail.NoAnswer, "host: neighbour: asks for 10.5.3.3",
			"bridge: drop: dropped by iifname @isolated drop of bridge seam/forward", "firewall of net3/alone/eth0", "Seam drops it because of plugin firewall")
		w.wants(w.explain(w.ask("alone", "[fd00:5:3::3]:80")), trail.NoAnswer, "dropped by iifname @isolated drop of bridge seam/forward")
		w.add("net4", "apart", fmt.Sprintf(bridge, `, "portIsolation": true`))
		w.add("net4", "too", fmt.Sprintf(bridge, `, "portIsolation": true`))
		w.wants(w.explain(w.ask("apart", "10.5.4.3:80")), trail.NoAnswer, "bridge: drop: port veth", "is isolated", "portIsolation of plugin bridge")
		forger := w.add("net5", "forger", fmt.Sprintf(bridge, `, "macspoofchk": true`))
		plugintest.Run(t, forger, "ip", "link", "set", "eth0", "address", "02:00:00:00:00:09")
		w.wants(w.explain(w.ask("forger", "10.5.5.77:80")), trail.NoAnswer, "dropped by iifname @guarded", "[bridge of net5/forger/eth0]")
		for _, name := range []string{"web", "alone"} {
			looked := w.ask(name, map[string]string{"web": "10.5.2.2:80", "alone": "10.5.3.3:80"}[name])
			looked.Probe = false
			w.wants(w.explain(looked), trail.NotSent, "drop: ", "firewall")
		}
		plugintest.Run(t, far, "nft", "add table inet own { chain out { type filter hook output priority 0; tcp dport 443 drop; }; }")
		nftables(t, `table ip mine {
			chain forwarding { type filter hook forward priority 5; ip daddr 203.0.113.9 jump web; }
			chain web { tcp dport 80 counter drop comment "no web"; tcp dport 81 reject; }
			chain back { type filter hook prerouting priority 5; tcp sport 82 drop; }
		}`)
		w.wants(w.explain(w.ask("web", "203.0.113.9:80")), trail.NoAnswer, "rule: ip daddr 203.0.113.9 jump web",
			"drop: dropped by tcp dport 80 counter", `drop comment "no web" of ip mine/web`)
		w.wants(w.explain(w.ask("far", "203.0.113.9:443")), trail.NoAnswer, "container: drop: dropped by tcp dport 443 drop of inet own/out")
		w.wants(w.explain(w.ask("web", "203.0.113.9:81")), trail.Refused, "drop: rejected by tcp dport 81 reject of ip mine/web")
		w.wants(w.explain(w.ask("web", "203.0.113.9:82")), trail.NoAnswer, "leaves the host by wan", "there is an answer", "dropped by tcp sport 82 drop of ip mine/back")
		plugintest.Run(t, nil, "iptables", "-P", "FORWARD", "DROP")
		w.wants(w.explain(w.ask("web", "203.0.113.9:83")), trail.NoAnswer, "drop: dropped by the policy of ip filter/FORWARD", "policy of iptables' chain FORWARD is DROP")
	})
}

// What a flush took is told, and a container's table is not Seam's for its name.
func TestFlushed(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		web := w.add("net1", "web", fmt.Sprintf(bridge+firewall, "", "isolated"))
		plugintest.Run(t, web, "nft", "add table inet seam { chain forward { type filter hook output priority 0; tcp dport 9 drop comment \"@masq\"; }; }")
		way := w.explain(w.ask("web", "203.0.113.9:9"))
		w.wants(way, trail.NoAnswer, "container: drop: dropped by tcp dport 9 drop")
		if strings.Contains(text(way), "Seam drops it") {
			t.Errorf("blames Seam:\n%s", text(way))
		}
		plugintest.Run(t, web, "nft", "flush", "ruleset")
		plugintest.Run(t, web, "nft", "add", "table", "inet", "seam-trace-999999999")
		plugintest.Run(t, nil, "nft", "flush", "ruleset")
		w.wants(w.explain(w.ask("web", "203.0.113.9:80")), trail.Refused, "which plugin bridge made, is missing: seam check --repair")
		if left := plugintest.Run(t, web, "nft", "list", "tables"); left != "" {
			t.Errorf("left in the container: %s", left)
		}
	})
}

func TestOtherKinds(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		serve(t, w.outside, ":80")
		w.add("net1", "point", `{"type": "ptp", "ipMasq": true, "ipam": {"type": "host-local", "subnet": "10.5.1.0/24", "routes": [{"dst": "0.0.0.0/0"}]}}`)
		w.wants(w.explain(w.ask("point", "203.0.113.9:80")), trail.Connected, "comes in by veth", "becomes 192.0.2.1", "leaves the host by wan")
		plugintest.Need(t, "macvlan")
		w.add("net2", "mac", `{"type": "macvlan", "master": "wan", "ipam": {"type": "static", "addresses": [{"address": "192.0.2.7/24"}]}}`)
		w.wants(w.explain(w.ask("mac", "192.0.2.2:80")), trail.Connected, "eth0, macvlan", "eth0 stands on wan")
		w.wants(w.explain(w.ask("mac", "192.0.2.1:80")), trail.NoAnswer, "does not let a host and a macvlan on its own link speak")
		w.wants(w.explain(w.ask("mac", "203.0.113.9:80")), trail.NotSent, "container: drop: no route to 203.0.113.9")
	})
}

// TestOthers: what others have the kernel trace, and rules that nftables does not know.
func TestOthers(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		w.add("net1", "web", fmt.Sprintf(bridge, ""))
		db := w.add("net1", "db", fmt.Sprintf(bridge, ""))
		nftables(t, `table inet noisy { chain every { type filter hook prerouting priority -2000; meta nftrace set 1; }; }`)
		var noise sync.WaitGroup
		noise.Go(func() { _, _ = plugintest.Try(db, "ping", "-q", "-i", "0.002", "-w", "1", "203.0.113.9") })
		defer noise.Wait()
		time.Sleep(100 * time.Millisecond) // it has begun
		way := w.explain(w.ask("web", "203.0.113.9:80"))
		w.wants(way, trail.Refused, "rule: meta nftrace set 1", "leaves the host by wan")
		if got := strings.Count(text(way), "translation"); got != 1 {
			t.Errorf("%d translations, want 1, in\n%s", got, text(way))
		}
		if out, err := plugintest.Try(nil, "iptables-legacy", "-A", "FORWARD", "-p", "tcp", "--dport", "99", "-j", "DROP"); err != nil {
			t.Skipf("no legacy iptables: %s", out)
		}
		w.wants(w.explain(w.ask("web", "203.0.113.9:99")), trail.NoAnswer, "drop: lost behind prerouting", "iptables-legacy has rules")
	})
}

// TestLeft: a trace whose process is killed leaves nothing on this kernel, and the next one
// removes what it would leave on older ones.
func TestLeft(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		w.add("net1", "web", fmt.Sprintf(bridge, ""))
		before := firewallText(t)
		plugintest.Run(t, nil, "nft", "add", "table", "inet", "seam-trace-999999999")
		way, err := trail.Explain(t.Context(), w.hostOf(), w.ask("web", "203.0.113.9:80"))
		plugintest.Must(t, err)
		w.wants(way, trail.Refused, "leaves the host by wan")
		if diff := cmp.Diff(before, firewallText(t)); diff != "" {
			t.Errorf("left (-before +after):\n%s", diff)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		plugintest.Run(t, nil, "ip", "route", "add", "blackhole", "198.51.100.0/24")
		if _, err := trail.Explain(ctx, w.hostOf(), w.ask("web", "198.51.100.1:80")); err == nil {
			t.Error("a trace that was cancelled ends without an error")
		}
	})
}

func (w *world) hostOf() trail.Host {
	links, err := w.host.Links()
	plugintest.Must(w, err)
	table, err := w.host.Table()
	plugintest.Must(w, err)
	return trail.Host{Links: links, Table: table}
}
