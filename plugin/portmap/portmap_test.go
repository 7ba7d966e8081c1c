package portmap_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/plugintest"
	"github.com/seamnet/seam/plugin/portmap"
	"golang.org/x/sys/unix"
)

var ctx = context.Background()

// request is for a portmap with more keys and these mappings.
func request(t testing.TB, keys string, pod *netnstest.Pod, id string, prev *cni.Result, mappings string) *cni.Request {
	t.Helper()
	runtime := ""
	if mappings != "" {
		runtime = `,"runtimeConfig":{"portMappings":` + mappings + `}`
	}
	r := plugintest.Request(t, `{"cniVersion":"1.1.0","name":"net","type":"portmap"`+keys+runtime+`}`, pod, id, nil)
	r.Prev = prev
	return r
}

func state(t testing.TB) string { return plugintest.State(t) }

// bridgeNF has br_netfilter show bridged packets to the firewall, or not, as is found
// on hosts of either kind.
func bridgeNF(t *testing.T, on bool) {
	t.Helper()
	for _, call := range []string{"iptables", "ip6tables"} {
		value := map[bool]string{true: "1", false: "0"}[on]
		err := os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-"+call, []byte(value), 0)
		if on && err != nil {
			t.Skipf("this kernel has no br_netfilter: %v", err)
		}
	}
}

func TestTraffic(t *testing.T) { netnstest.Host(t, func(t *testing.T) { traffic(t, false) }) }

func TestTrafficWithBridgeNetfilter(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) { traffic(t, true) })
}

func traffic(t *testing.T, filtered bool) {
	bridgeNF(t, filtered)
	w := newWorld(t)
	web, webResult := w.pod("web", 2)
	other, _ := w.pod("other", 3)
	p := portmap.New(plugintest.Host(t))
	for _, network := range []string{"tcp", "udp"} {
		serve(t, web, network, "80", "web")
	}
	r := request(t, "", web, "web", webResult, `[
			{"hostPort":8080,"containerPort":80,"protocol":"tcp"},
			{"hostPort":8080,"containerPort":80,"protocol":"UDP"},
			{"hostPort":8081,"containerPort":80,"protocol":"tcp","hostIP":"192.0.2.1"},
			{"hostPort":8082,"containerPort":80,"protocol":"tcp","hostIP":"0.0.0.0"},
			{"hostPort":8083,"containerPort":80,"protocol":"tcp","hostIP":"::"}]`)
	result, err := p.Add(ctx, r)
	must(t, err)
	if diff := cmp.Diff(webResult, result, cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})); diff != "" {
		t.Errorf("result (-prev +got):\n%s", diff)
	}
	for _, network := range []string{"tcp", "udp"} {
		expect(t, w.outside, network, "192.0.2.1:8080", "web 192.0.2.9")
		expect(t, w.outside, network, "10.1.0.1:8080", "")
		expect(t, w.outside, network, "[2001:db8::1]:8080", "web 2001:db8::9")
		// A neighbour and the pod itself, whose answer must come back over the host.
		expect(t, other, network, "192.0.2.1:8080", "web 10.1.0.1")
		expect(t, other, network, "[2001:db8::1]:8080", "web fd00:1::1")
		expect(t, web, network, "192.0.2.1:8080", "web 10.1.0.1")
		expect(t, web, network, "[2001:db8::1]:8080", "web fd00:1::1")
		expect(t, web, network, "[fd00:1::1]:8080", "web fd00:1::1")
		// The host by each of its addresses; 127.0.0.1 needs route_localnet.
		expect(t, nil, network, "192.0.2.1:8080", "web 192.0.2.1")
		expect(t, nil, network, "127.0.0.1:8080", "web 10.1.0.1")
		expect(t, nil, network, "127.0.0.2:8080", "web 10.1.0.1")
		expect(t, nil, network, "[2001:db8::1]:8080", "web 2001:db8::1")
	}
	l, err := net.Listen("tcp", "[::1]:8080")
	must(t, err)
	defer l.Close()
	go serveTCP(l, "host")
	expect(t, nil, "tcp", "[::1]:8080", "host ::1") // not forwarded
	expect(t, w.outside, "tcp", "192.0.2.1:8081", "web 192.0.2.9")
	expect(t, nil, "tcp", "127.0.0.1:8081", "")
	expect(t, w.outside, "tcp", "[2001:db8::1]:8081", "")
	expect(t, w.outside, "tcp", "192.0.2.1:8082", "web 192.0.2.9")
	expect(t, w.outside, "tcp", "[2001:db8::1]:8082", "")
	expect(t, w.outside, "tcp", "192.0.2.1:8083", "")
	expect(t, w.outside, "tcp", "[2001:db8::1]:8083", "web 2001:db8::9")
	expect(t, w.outside, "udp", "192.0.2.1:8081", "")

	must(t, p.Check(ctx, r))
	must(t, p.Del(ctx, r))
	expect(t, w.outside, "tcp", "192.0.2.1:8080", "")
}

// With route_localnet a pod could reach what listens on the host's 127.0.0.1 only.
func TestLocalhostStaysClosed(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		web, webResult := w.pod("web", 2)
		must(t, in(nil, func() error {
			l, err := net.Listen("tcp", "127.0.0.1:9999")
			if err == nil {
				t.Cleanup(func() { l.Close() })
				go serveTCP(l, "secret")
			}
			return err
		}))
		p := portmap.New(plugintest.Host(t))
		_, err := p.Add(ctx, request(t, "", web, "web", webResult, `[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]`))
		must(t, err)
		expect(t, nil, "tcp", "127.0.0.1:9999", "secret 127.0.0.1")
		ip(t, web, "link set lo down")
		ip(t, web, "addr del 127.0.0.1/8 dev lo")
		ip(t, web, "route add 127.0.0.1/32 via 10.1.0.1 src 10.1.0.2")
		must(t, web.NS.Do(func() error { return os.WriteFile("/proc/sys/net/ipv4/conf/all/route_localnet", []byte("1"), 0) }))
		expect(t, web, "tcp", "127.0.0.1:9999", "")
		plugintest.Run(t, nil, "nft", "flush", "chain", "inet", "seam", "input")
		expect(t, web, "tcp", "127.0.0.1:9999", "secret 10.1.0.2") // the test would see it
	})
}

func TestSCTP(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP)
	if err != nil {
		t.Skipf("this kernel has no SCTP sockets: %v", err)
	}
	unix.Close(fd)
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		web, webResult := w.pod("web", 2)
		serve(t, web, "sctp", "80", "web")
		p := portmap.New(plugintest.Host(t))
		_, err := p.Add(ctx, request(t, "", web, "web", webResult, `[{"hostPort":8080,"containerPort":80,"protocol":"sctp"}]`))
		must(t, err)
		expect(t, w.outside, "sctp", "192.0.2.1:8080", "web 192.0.2.9")
	})
}

func TestSourceNAT(t *testing.T) {
	tests := []struct {
		name, keys                  string
		outside, neighbour, oneself string // what the pod sees of them
		localhost                   string
	}{
		{"default", "", "web 192.0.2.9", "web 10.1.0.1", "web 10.1.0.1", "web 10.1.0.1"},
		{"masqAll", `,"masqAll":true`, "web 10.1.0.1", "web 10.1.0.1", "web 10.1.0.1", "web 10.1.0.1"},
		{"no snat", `,"snat":false`, "web 192.0.2.9", "", "", ""},
		{"no snat over masqAll", `,"snat":false,"masqAll":true`, "web 192.0.2.9", "", "", ""},
		{"iptables keys", `,"backend":"iptables","markMasqBit":14,"conditionsV4":[]`, "web 192.0.2.9", "web 10.1.0.1", "web 10.1.0.1", "web 10.1.0.1"},
		{"set mark chain", `,"externalSetMarkChain":"KUBE-MARK-MASQ"`, "web 192.0.2.9", "web 10.1.0.1", "web 10.1.0.1", "web 10.1.0.1"},
	}
	netnstest.Host(t, func(t *testing.T) {
		bridgeNF(t, false)
		w := newWorld(t)
		web, webResult := w.pod("web", 2)
		other, _ := w.pod("other", 3)
		serve(t, web, "tcp", "80", "web")
		p := portmap.New(plugintest.Host(t))
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				must(t, os.WriteFile("/proc/sys/net/ipv4/conf/cni0/route_localnet", []byte("0"), 0))
				r := request(t, tt.keys, web, "web", webResult, `[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]`)
				_, err := p.Add(ctx, r)
				must(t, err)
				must(t, p.Check(ctx, r))
				expect(t, w.outside, "tcp", "192.0.2.1:8080", tt.outside)
				expect(t, other, "tcp", "192.0.2.1:8080", tt.neighbour)
				expect(t, web, "tcp", "192.0.2.1:8080", tt.oneself)
				expect(t, nil, "tcp", "127.0.0.1:8080", tt.localhost)
				must(t, p.Del(ctx, r))
			})
		}
	})
}

// A client that goes on sending from one port moves to the new pod, and leaves the
// old one at once.
func TestUDPFlowsMove(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		one, oneResult := w.pod("one", 2)
		two, twoResult := w.pod("two", 3)
		serve(t, one, "udp", "53", "one")
		serve(t, two, "udp", "53", "two")
		p := portmap.New(plugintest.Host(t))
		for _, target := range []string{"192.0.2.1", "2001:db8::1"} {
			var conn net.Conn
			must(t, in(w.outside, func() (err error) {
				conn, err = net.Dial("udp", net.JoinHostPort(target, "53"))
				return err
			}))
			defer conn.Close()
			say := func() string {
				fmt.Fprint(conn, "?")
				conn.SetDeadline(time.Now().Add(500 * time.Millisecond))
				b := make([]byte, 64)
				n, _ := conn.Read(b)
				name, _, _ := strings.Cut(string(b[:n]), " ")
				return name
			}
			same := func(want string) {
				t.Helper()
				got := say()
				for range 3 { // as in expect
					if got == "" && want != "" {
						got = say()
					}
				}
				if got != want {
					t.Errorf("%s: %q answers, want %q", target, got, want)
				}
			}
			mapping := `[{"hostPort":53,"containerPort":53,"protocol":"udp"}]`
			first := request(t, "", one, "one", oneResult, mapping)
			second := request(t, "", two, "two", twoResult, mapping)
			say() // tracked as the host's own, unanswered
			say() // the refusal that came back
			_, err := p.Add(ctx, first)
			must(t, err)
			same("one")
			must(t, p.Del(ctx, first))
			say()
			same("")
			_, err = p.Add(ctx, second)
			must(t, err)
			say()
			same("two")
			must(t, p.Del(ctx, second))
		}
	})
}

func TestLifecycle(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		web, webResult := w.pod("web", 2)
		h := plugintest.Host(t)
		p := portmap.New(h)
		mappings := `[{"HostPort":8080,"ContainerPort":80,"Protocol":"tcp","HostIP":""}]` // as containerd writes it
		r := request(t, "", web, "web", webResult, mappings)
		_, err := p.Add(ctx, r)
		must(t, err)
		must(t, p.Del(ctx, r))
		empty := state(t)

		for _, tt := range []struct {
			name string
			del  *cni.Request
		}{
			{"all as ADD had it", r},
			{"no runtimeConfig", request(t, "", web, "web", webResult, "")},
			{"no prevResult, no namespace", request(t, "", nil, "web", nil, "")},
			{"configuration broken since", request(t, `,"backend":"none","snat":7`, nil, "web", nil, "")},
		} {
			_, err := p.Add(ctx, r)
			must(t, err)
			for range 2 {
				if err := p.Del(ctx, tt.del); err != nil {
					t.Errorf("DEL, %s: %v", tt.name, err)
				}
			}
			if diff := cmp.Diff(empty, state(t)); diff != "" {
				t.Errorf("DEL, %s: left (-want +got):\n%s", tt.name, diff)
			}
		}
		must(t, p.Del(ctx, request(t, "", nil, "never", nil, "")))
		must(t, p.Status(ctx, r))
	})
}

func TestPassThrough(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		web, webResult := w.pod("web", 2)
		p := portmap.New(plugintest.Host(t))
		before := state(t)
		elsewhere := webResult.Clone()
		elsewhere.Interfaces[2].Name = "net1"
		for name, r := range map[string]*cni.Request{
			"no mappings":              request(t, "", web, "web", webResult, ""),
			"empty mappings":           request(t, "", web, "web", webResult, "[]"),
			"no address":               request(t, "", web, "web", &cni.Result{}, `[{"hostPort":1,"containerPort":1}]`),
			"addresses of another one": request(t, "", web, "web", elsewhere, `[{"hostPort":1,"containerPort":1}]`),
		} {
			result, err := p.Add(ctx, r)
			must(t, err)
			if diff := cmp.Diff(r.Prev, result, cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s: result (-prev +got):\n%s", name, diff)
			}
			must(t, p.Check(ctx, r))
			if diff := cmp.Diff(before, state(t)); diff != "" {
				t.Errorf("%s: touched (-want +got):\n%s", name, diff)
			}
		}
		// A result of version 0.2.0 has no interfaces.
		old := &cni.Result{IPs: []cni.IP{{Address: webResult.IPs[0].Address}}}
		_, err := p.Add(ctx, request(t, "", web, "web", old, `[{"hostPort":8080,"containerPort":80}]`))
		must(t, err)
		serve(t, web, "tcp", "80", "web")
		expect(t, w.outside, "tcp", "192.0.2.1:8080", "web 192.0.2.9")
	})
}

func TestInvalid(t *testing.T) {
	mapping := func(m string) string { return `[{"hostPort":1,"containerPort":1},` + m + `]` }
	tests := []struct {
		name, keys, mappings string
		code                 cni.Code
		want                 string
	}{
		{"host port 0", "", mapping(`{"hostPort":0,"containerPort":80}`), cni.CodeInvalidConfig, "portMappings[1]: hostPort 0: must be 1 to 65535"},
		{"host port too big", "", mapping(`{"hostPort":65536,"containerPort":80}`), cni.CodeInvalidConfig, "hostPort 65536"},
		{"container port negative", "", mapping(`{"hostPort":80,"containerPort":-1}`), cni.CodeInvalidConfig, "containerPort -1"},
		{"container port too big", "", mapping(`{"hostPort":80,"containerPort":70000}`), cni.CodeInvalidConfig, "containerPort 70000"},
		{"protocol", "", mapping(`{"hostPort":80,"containerPort":80,"protocol":"icmp"}`), cni.CodeInvalidConfig, `protocol "icmp": must be tcp, udp or sctp`},
		{"host IP", "", mapping(`{"hostPort":80,"containerPort":80,"hostIP":"localhost"}`), cni.CodeInvalidConfig, `hostIP "localhost"`},
		{"host IP with zone", "", mapping(`{"hostPort":80,"containerPort":80,"hostIP":"fe80::1%eth0"}`), cni.CodeInvalidConfig, "hostIP"},
		{"twice", "", mapping(`{"hostPort":1,"containerPort":2}`), cni.CodeInvalidConfig, "host port tcp/1 leads to container ports 1 and 2"},
		{"twice over 0.0.0.0", "", mapping(`{"hostPort":1,"containerPort":2,"hostIP":"0.0.0.0"}`), cni.CodeInvalidConfig, "leads to container ports"},
		{"not a list", "", `{}`, cni.CodeDecoding, "portMappings"},
		{"backend", `,"backend":"ipvs"`, "", cni.CodeInvalidConfig, `backend "ipvs": must be iptables or nftables`},
		{"mark bit", `,"markMasqBit":32`, "", cni.CodeInvalidConfig, "markMasqBit 32"},
		{"mark twice", `,"markMasqBit":1,"externalSetMarkChain":"X"`, "", cni.CodeInvalidConfig, "only one"},
		{"condition", `,"conditionsV4":["-m","set","--match-set","friends","src"]`, "", cni.CodeUnsupportedField, `conditionsV4 ["-m" "set" "--match-set" "friends" "src"]: -m set`},
		{"condition of the other family", `,"conditionsV6":["ip saddr 10.0.0.1"]`, "", cni.CodeUnsupportedField, "conditionsV6"},
		{"keys of both backends", `,"conditionsV4":["-i","eth0"],"conditionsV6":["iifname eth0"]`, "", cni.CodeInvalidConfig, "only one of them"},
	}
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		web, webResult := w.pod("web", 2)
		p := portmap.New(plugintest.Host(t))
		before := state(t)
		for _, tt := range tests {
			r := request(t, tt.keys, web, "web", webResult, tt.mappings)
			for verb, call := range map[string]func() error{
				"ADD":   func() error { _, err := p.Add(ctx, r); return err },
				"CHECK": func() error { return p.Check(ctx, r) },
			} {
				err := call()
				if err == nil || cni.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%s, %s: error %v with code %d, want %q with code %d", verb, tt.name, err, cni.CodeOf(err), tt.want, tt.code)
				}
			}
		}
		_, err := p.Add(ctx, request(t, "", web, "web", nil, `[{"hostPort":1,"containerPort":1}]`))
		if cni.CodeOf(err) != cni.CodeInvalidConfig || !strings.Contains(err.Error(), "needs prevResult") {
			t.Errorf("no prevResult: %v", err)
		}
		if diff := cmp.Diff(before, state(t)); diff != "" {
			t.Errorf("touched (-want +got):\n%s", diff)
		}
	})
}

func TestTaken(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		one, oneResult := w.pod("one", 2)
		two, twoResult := w.pod("two", 3)
		serve(t, one, "tcp", "80", "one")
		p := portmap.New(plugintest.Host(t))
		mapping := `[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]`
		_, err := p.Add(ctx, request(t, "", one, "one", oneResult, mapping))
		must(t, err)
		_, err = cni.Add(ctx, p, request(t, "", two, "two", twoResult, mapping))
		if err == nil || !strings.Contains(err.Error(), "host port tcp/8080 is taken by net/one/eth0") {
			t.Errorf("second owner: %v", err)
		}
		expect(t, w.outside, "tcp", "192.0.2.1:8080", "one 192.0.2.9")
	})
}

func TestCheck(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		bridgeNF(t, true)
		w := newWorld(t)
		web, webResult := w.pod("web", 2)
		p := portmap.New(plugintest.Host(t))
		r := request(t, "", web, "web", webResult, `[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]`)
		for _, tt := range []struct{ name, damage, want string }{
			{"element", "nft delete element inet seam hostports4 { tcp . 8080 }", "tcp dport 8080 dnat to 10.1.0.2:80: map hostports4 lacks it"},
			{"hairpin", "nft flush map inet seam hairpin6", "ip6 daddr fd00:1::2 masquerade: map hairpin6 lacks it"},
			{"table", "nft delete table inet seam", "table inet seam is missing"},
			{"bridge port", "ip link set vweb type bridge_slave hairpin off", "bridge port vweb: hairpin mode is off"},
			{"sysctl", "sysctl -qw net.ipv4.conf.cni0.route_localnet=0", "ipv4/conf/cni0/route_localnet is 0, not 1"},
		} {
			_, err := p.Add(ctx, r)
			must(t, err)
			must(t, p.Check(ctx, r))
			words := strings.Fields(tt.damage)
			plugintest.Run(t, nil, words[0], words[1:]...)
			if err := p.Check(ctx, r); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
			}
			must(t, p.Del(ctx, r))
		}
	})
}

func TestGC(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		one, oneResult := w.pod("one", 2)
		two, twoResult := w.pod("two", 3)
		serve(t, one, "udp", "53", "one")
		h := plugintest.Host(t)
		p := portmap.New(h)
		live := request(t, "", one, "one", oneResult, `[{"hostPort":53,"containerPort":53,"protocol":"udp"}]`)
		_, err := p.Add(ctx, live)
		must(t, err)
		want := state(t)
		_, err = p.Add(ctx, request(t, "", two, "two", twoResult, `[{"hostPort":54,"containerPort":53,"protocol":"udp"}]`))
		must(t, err)
		serve(t, two, "udp", "53", "two")
		expect(t, w.outside, "udp", "192.0.2.1:54", "two 192.0.2.9")
		both := state(t)

		gc := request(t, "", nil, "", nil, "")
		gc.Attachment = cni.Attachment{Network: "net"}
		must(t, p.GC(ctx, gc)) // not told what is valid
		if diff := cmp.Diff(both, state(t)); diff != "" {
			t.Errorf("GC without a list (-want +got):\n%s", diff)
		}
		gc.Valid = []cni.Attachment{live.Attachment}
		must(t, p.GC(ctx, gc))
		if diff := cmp.Diff(want, state(t)); diff != "" {
			t.Errorf("GC (-want +got):\n%s", diff)
		}
		if flows := plugintest.Run(t, nil, "conntrack", "-L"); strings.Contains(flows, "src=10.1.0.3") {
			t.Errorf("flows of what was collected:\n%s", flows)
		}
		expect(t, w.outside, "udp", "192.0.2.1:53", "one 192.0.2.9")
		gc.Valid = []cni.Attachment{}
		must(t, p.GC(ctx, gc))
		expect(t, w.outside, "udp", "192.0.2.1:53", "")
	})
}

func TestStatus(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		p := portmap.New(plugintest.Host(t))
		must(t, p.Status(ctx, request(t, "", nil, "", nil, "")))
		if err := p.Status(ctx, request(t, `,"backend":"none"`, nil, "", nil, "")); cni.CodeOf(err) != cni.CodeInvalidConfig {
			t.Errorf("invalid configuration: %v", err)
		}
	})
}
