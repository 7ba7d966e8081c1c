package portmap_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/plugintest"
	"github.com/seamnet/seam/plugin/portmap"
)

// TestSameMappings: what is asked for twice is given once, and several host ports may
// lead to one port of the pod.
func TestSameMappings(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		web, webResult := w.pod("web", 2)
		serve(t, web, "tcp", "80", "web")
		p := portmap.New(plugintest.Host(t))
		r := request(t, "", web, "web", webResult, `[
			{"hostPort":8080,"containerPort":80,"protocol":"tcp"},{"hostPort":8080,"containerPort":80},
			{"hostPort":8080,"containerPort":80,"protocol":"TCP","hostIP":"0.0.0.0"},
			{"hostPort":8080,"containerPort":80,"hostIP":"192.0.2.1"},{"hostPort":8081,"containerPort":80}]`)
		_, err := p.Add(ctx, r)
		must(t, err)
		must(t, p.Check(ctx, r))
		expect(t, w.outside, "tcp", "192.0.2.1:8080", "web 192.0.2.9")
		expect(t, w.outside, "tcp", "192.0.2.1:8081", "web 192.0.2.9")
		must(t, p.Del(ctx, r))
		expect(t, w.outside, "tcp", "192.0.2.1:8080", "")
	})
}

// TestConnectionsEnd: a connection that stood when its mapping went is forgotten, in both
// families, and the pod's others are not.
func TestConnectionsEnd(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		web, webResult := w.pod("web", 2)
		other, otherResult := w.pod("other", 3)
		for _, pod := range []*netnstest.Pod{web, other} {
			must(t, pod.NS.Do(func() error {
				l, err := net.Listen("tcp", ":80")
				if err == nil {
					t.Cleanup(func() { l.Close() })
				}
				return err
			}))
		}
		p := portmap.New(plugintest.Host(t))
		r := request(t, "", web, "web", webResult, `[{"hostPort":8080,"containerPort":80}]`)
		stays := request(t, "", other, "other", otherResult, `[{"hostPort":8081,"containerPort":80}]`)
		for _, r := range []*cni.Request{r, stays} {
			_, err := p.Add(ctx, r)
			must(t, err)
		}
		for _, port := range []int{8080, 8081} {
			for _, host := range []string{"192.0.2.1", "2001:db8::1"} {
				must(t, w.outside.NS.Do(func() error {
					c, err := net.Dial("tcp", net.JoinHostPort(host, fmt.Sprint(port)))
					if err == nil {
						t.Cleanup(func() { c.Close() })
					}
					return err
				}))
			}
		}
		flows := func() string {
			return plugintest.Run(t, nil, "conntrack", "-L") + plugintest.Run(t, nil, "conntrack", "-L", "-f", "ipv6")
		}
		tell := func(of ...string) string {
			var b strings.Builder
			all := flows()
			for _, a := range of {
				fmt.Fprintf(&b, "%s %t\n", a, strings.Contains(all, "src="+a+" "))
			}
			return b.String()
		}
		addrs := []string{"10.1.0.2", "fd00:1::2", "10.1.0.3", "fd00:1::3"}
		if diff := cmp.Diff("10.1.0.2 true\nfd00:1::2 true\n10.1.0.3 true\nfd00:1::3 true\n", tell(addrs...)); diff != "" {
			t.Fatalf("tracked (-want +got):\n%s", diff)
		}
		must(t, p.Del(ctx, r))
		if diff := cmp.Diff("10.1.0.2 false\nfd00:1::2 false\n10.1.0.3 true\nfd00:1::3 true\n", tell(addrs...)); diff != "" {
			t.Errorf("tracked after DEL (-want +got):\n%s", diff)
		}
	})
}

// TestContainerOnTwoNetworks: elements are told apart by the network as well.
func TestContainerOnTwoNetworks(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		web, webResult := w.pod("web", 2)
		serve(t, web, "tcp", "80", "web")
		elsewhere, elsewhereResult := w.pod("elsewhere", 3)
		p := portmap.New(plugintest.Host(t))
		first := request(t, "", web, "web", webResult, `[{"hostPort":8080,"containerPort":80}]`)
		second := request(t, "", elsewhere, "web", elsewhereResult, `[{"hostPort":8081,"containerPort":80}]`)
		second.Network, second.Config.Name = "net2", "net2"
		for _, r := range []*cni.Request{first, second} {
			_, err := p.Add(ctx, r)
			must(t, err)
		}
		must(t, p.Del(ctx, second))
		expect(t, w.outside, "tcp", "192.0.2.1:8080", "web 192.0.2.9")
		expect(t, w.outside, "tcp", "192.0.2.1:8081", "")
		must(t, p.Check(ctx, first))
	})
}

// others is what kube-proxy's nftables mode and Docker set up, in short: translations of
// theirs at the same hooks and priorities.
const others = `
table ip kube-proxy {
	chain services { ip daddr 10.96.0.10 tcp dport 80 dnat to 10.1.0.2:80; }
	chain nat-prerouting { type nat hook prerouting priority dstnat; jump services; }
	chain nat-output { type nat hook output priority -100; jump services; }
	chain nat-postrouting { type nat hook postrouting priority srcnat; meta mark & 0x4000 == 0x4000 masquerade; }
}
table ip docker {
	chain prerouting { type nat hook prerouting priority dstnat; fib daddr type local tcp dport 9090 dnat to 10.1.0.3:80; }
	chain postrouting { type nat hook postrouting priority srcnat; ip saddr 172.17.0.0/16 oifname != "docker0" masquerade; }
}
`

// TestBesideOthers: the translations of other programs go on to work beside Seam's, and
// what they set up is not touched.
func TestBesideOthers(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		web, webResult := w.pod("web", 2)
		other, _ := w.pod("other", 3)
		serve(t, web, "tcp", "80", "web")
		serve(t, other, "tcp", "80", "other")
		ip(t, w.outside, "route add 10.96.0.10/32 via 192.0.2.1")
		file := filepath.Join(t.TempDir(), "others.nft")
		must(t, os.WriteFile(file, []byte(others), 0o600))
		plugintest.Run(t, nil, "nft", "-f", file)
		plugintest.Run(t, nil, "iptables", "-t", "nat", "-A", "POSTROUTING", "-s", "172.18.0.0/16", "-j", "MASQUERADE")
		foreign := func() string {
			return plugintest.Run(t, nil, "nft", "-s", "list", "table", "ip", "kube-proxy") +
				plugintest.Run(t, nil, "nft", "-s", "list", "table", "ip", "docker") +
				plugintest.Run(t, nil, "iptables-save", "-t", "nat")
		}
		withoutComments := func(s string) string {
			var b strings.Builder
			for line := range strings.Lines(s) {
				if !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, ":") {
					b.WriteString(line)
				}
			}
			return b.String()
		}
		before := withoutComments(foreign())
		reached := func(published string) {
			t.Helper()
			expect(t, w.outside, "tcp", "192.0.2.1:8080", published)
			expect(t, w.outside, "tcp", "10.96.0.10:80", "web 192.0.2.9")
			expect(t, w.outside, "tcp", "192.0.2.1:9090", "other 192.0.2.9")
		}
		p := portmap.New(plugintest.Host(t))
		r := request(t, "", web, "web", webResult, `[{"hostPort":8080,"containerPort":80}]`)
		_, err := p.Add(ctx, r)
		must(t, err)
		reached("web 192.0.2.9")
		must(t, p.Check(ctx, r))
		must(t, p.Del(ctx, r))
		reached("")
		if diff := cmp.Diff(before, withoutComments(foreign())); diff != "" {
			t.Errorf("rules of others (-before +after):\n%s", diff)
		}
	})
}
