package sbr_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/bridge"
	"github.com/seamnet/seam/plugin/plugintest"
	"github.com/seamnet/seam/plugin/ptp"
	"github.com/seamnet/seam/plugin/sbr"
	"github.com/seamnet/seam/plugin/static"
)

var (
	ctx  = context.Background()
	must = plugintest.Must
)

// ipam gives network n an address, a gateway and a default route of each family, and a
// route to a corporate network.
const ipam = `"ipam":{"type":"static","addresses":[{"address":"10.N.0.5/24","gateway":"10.N.0.1"},{"address":"fd00:N::5/64","gateway":"fd00:N::1"}],
"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}CORPORATE]}`

const corporate = `,{"dst":"172.16.0.0/12","gw":"10.N.0.254"}`

// attach gives the pod an interface by the plugin, on network n.
func attach(t *testing.T, p cni.Plugin, pluginType string, pod *netnstest.Pod, n int) (r *cni.Request) {
	t.Helper()
	conf := fmt.Sprintf(`{"cniVersion":"1.1.0","name":"net-N","type":%q,"bridge":"brN","isGateway":true,%s}`, pluginType, ipam)
	if pluginType == "ptp" { // it reaches but the one gateway
		conf = strings.ReplaceAll(conf, "CORPORATE", "")
	}
	r = plugintest.Request(t, strings.NewReplacer("CORPORATE", strings.ReplaceAll(corporate, "N", fmt.Sprint(n)), "N", fmt.Sprint(n)).Replace(conf), pod, "c1", cni.Registry{"static": static.New()})
	r.IfName = fmt.Sprintf("eth%d", n)
	result, err := p.Add(ctx, r)
	must(t, err)
	r.Prev = result
	return r
}

// request is for sbr, on what made has made.
func request(made *cni.Request, keys string) *cni.Request {
	r := *made
	r.Config = cni.Config{Name: r.Network, Version: "1.1.0", Type: "sbr",
		JSON: json.RawMessage(fmt.Sprintf(`{"cniVersion":"1.1.0","name":%q,"type":"sbr"%s}`, r.Network, keys))}
	return &r
}

// rules are those that sbr made.
func rules(t testing.TB, pod *netnstest.Pod) string {
	t.Helper()
	var b strings.Builder
	for _, family := range []string{"-4", "-6"} {
		for line := range strings.Lines(plugintest.Run(t, pod, "ip", family, "rule")) {
			if !strings.Contains(line, "from all") {
				b.WriteString(line)
			}
		}
	}
	return b.String()
}

// who made a route is not of interest.
var unimportant = regexp.MustCompile(` (proto \w+|pref medium|linkdown|onlink)`)

// table returns the routes of one family in a table, but link-local ones.
func table(t testing.TB, pod *netnstest.Pod, family, table string) string {
	t.Helper()
	out, err := plugintest.Try(pod, "ip", family, "route", "show", "table", table)
	if err != nil && !strings.Contains(out, "table does not exist") {
		t.Fatal(out)
	}
	var b strings.Builder
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "fe80") && err == nil {
			b.WriteString(strings.TrimRight(unimportant.ReplaceAllString(line, ""), " \n") + "\n")
		}
	}
	return b.String()
}

func routesOf(t testing.TB, pod *netnstest.Pod, tables ...string) string {
	t.Helper()
	var b strings.Builder
	for _, n := range tables {
		for _, family := range []string{"-4", "-6"} {
			if routes := table(t, pod, family, n); routes != "" {
				b.WriteString(family + " " + n + ":\n" + routes)
			}
		}
	}
	return b.String()
}

// TestSBR: two interfaces, each with both families; what is sent from an address leaves
// by its interface, and the interfaces' own plugins find nothing amiss.
func TestSBR(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h := plugintest.Host(t)
		pod := netnstest.NewPod(t, "pod1")
		p := sbr.New(h)
		makers := map[string]cni.Plugin{"bridge": bridge.New(h), "ptp": ptp.New(h)}
		before := rules(t, pod)
		var made []*cni.Request
		for n, kind := range []string{"bridge", "bridge"} {
			r := attach(t, makers[kind], kind, pod, n+1)
			result, err := p.Add(ctx, request(r, ""))
			must(t, err)
			r.Prev = result
			made = append(made, r)
		}
		want := "32765:	from 10.1.0.5 lookup 100\n32764:	from 10.2.0.5 lookup 102\n32765:	from fd00:1::5 lookup 101\n32764:	from fd00:2::5 lookup 103\n"
		if got := rules(t, pod); !sameLines(got, want) {
			t.Errorf("rules (-want +got):\n%s", cmp.Diff(want, got))
		}
		if main := routesOf(t, pod, "main"); main != "" {
			t.Errorf("main table:\n%s", main)
		}
		want = "-4 102:\ndefault via 10.2.0.1 dev eth2\n10.2.0.0/24 dev eth2 scope link src 10.2.0.5\n172.16.0.0/12 via 10.2.0.254 dev eth2\n" +
			"-6 103:\nfd00:2::/64 dev eth2 metric 256\ndefault via fd00:2::1 dev eth2 metric 1024\n"
		if diff := cmp.Diff(want, routesOf(t, pod, "102", "103")); diff != "" {
			t.Errorf("tables of eth2 (-want +got):\n%s", diff)
		}
		if linkLocal := plugintest.Run(t, pod, "ip", "-6", "route", "show", "fe80::/64"); strings.Count(linkLocal, "dev eth") != 2 {
			t.Errorf("link-local routes:\n%s", linkLocal)
		}
		for i, r := range made {
			for _, to := range []string{"192.0.2.1", "2001:db8::1"} {
				from := fmt.Sprintf("10.%d.0.5", i+1)
				if strings.Contains(to, ":") {
					from = fmt.Sprintf("fd00:%d::5", i+1)
				}
				if got := plugintest.Run(t, pod, "ip", "route", "get", to, "from", from); !strings.Contains(got, "dev "+r.IfName) {
					t.Errorf("from %s: %s", from, got)
				}
			}
			plugintest.Run(t, pod, "ping", "-c1", "-W5", "-I", fmt.Sprintf("10.%d.0.5", i+1), fmt.Sprintf("10.%d.0.1", i+1))
			must(t, errors.Join(p.Check(ctx, request(r, "")), makers["bridge"].Check(ctx, r)))
		}
		// One is detached, the other one stays whole.
		must(t, p.Del(ctx, request(made[0], "")))
		must(t, makers["bridge"].Del(ctx, made[0]))
		must(t, p.Check(ctx, request(made[1], "")))
		must(t, p.Del(ctx, request(made[1], "")))
		if got := rules(t, pod); got != before {
			t.Errorf("rules after DEL:\n%s", got)
		}
		must(t, makers["bridge"].Del(ctx, made[1]))

		// A pod that has no neighbours but its gateway.
		r := attach(t, makers["ptp"], "ptp", pod, 3)
		_, err := p.Add(ctx, request(r, ""))
		must(t, err)
		must(t, errors.Join(p.Check(ctx, request(r, "")), makers["ptp"].Check(ctx, r)))
		plugintest.Run(t, pod, "ping", "-c1", "-W5", "-I", "10.3.0.5", "10.3.0.1")
	})
}

func sameLines(a, b string) bool {
	lines := func(s string) map[string]bool {
		m := make(map[string]bool)
		for l := range strings.Lines(s) {
			m[strings.TrimSpace(l)] = true
		}
		return m
	}
	return cmp.Equal(lines(a), lines(b))
}

func TestKeys(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h := plugintest.Host(t)
		p, maker := sbr.New(h), bridge.New(h)
		pod := netnstest.NewPod(t, "pod1")
		for _, tt := range []struct{ name, keys, rules, main, tables string }{
			{"table", `,"table":200`, "10.1.0.5 lookup 200 fd00:1::5 lookup 200",
				"-4 main:\ndefault via 10.1.0.1 dev eth1\n10.1.0.0/24 dev eth1 scope link src 10.1.0.5\n172.16.0.0/12 via 10.1.0.254 dev eth1\n" +
					"-6 main:\nfd00:1::/64 dev eth1 metric 256\ndefault via fd00:1::1 dev eth1 metric 1024\n", ""},
			{"gateways", `,"gateways":["10.1.0.77","fe80::77"]`, "10.1.0.5 lookup 100 fd00:1::5 lookup 101", "",
				"-4 100:\ndefault via 10.1.0.77 dev eth1\n10.1.0.0/24 dev eth1 scope link src 10.1.0.5\n172.16.0.0/12 via 10.1.0.254 dev eth1\n" +
					"-6 101:\nfd00:1::/64 dev eth1 metric 256\ndefault via fe80::77 dev eth1 metric 1024\n"},
			{"addSourceHints", `,"addSourceHints":true`, "10.1.0.5 lookup 100 fd00:1::5 lookup 101",
				"-4 main:\n10.1.0.0/24 dev eth1 scope link src 10.1.0.5\n-6 main:\nfd00:1::/64 dev eth1 src fd00:1::5 metric 256\n",
				"-4 100:\ndefault via 10.1.0.1 dev eth1\n10.1.0.0/24 dev eth1 scope link src 10.1.0.5\n172.16.0.0/12 via 10.1.0.254 dev eth1\n" +
					"-6 101:\nfd00:1::/64 dev eth1 metric 256\ndefault via fd00:1::1 dev eth1 metric 1024\n"},
		} {
			made := attach(t, maker, "bridge", pod, 1)
			r := request(made, tt.keys)
			_, err := p.Add(ctx, r)
			must(t, err)
			must(t, p.Check(ctx, r))
			for pair := range strings.SplitSeq(tt.rules, " fd") {
				if got := rules(t, pod); !strings.Contains(got, pair) {
					t.Errorf("%s: rules: want %q in\n%s", tt.name, tt.rules, got)
				}
			}
			if diff := cmp.Diff(tt.main, routesOf(t, pod, "main")); diff != "" {
				t.Errorf("%s: main (-want +got):\n%s", tt.name, diff)
			}
			if diff := cmp.Diff(tt.tables, routesOf(t, pod, "100", "101", "102", "200")); diff != "" {
				t.Errorf("%s: tables (-want +got):\n%s", tt.name, diff)
			}
			must(t, p.Del(ctx, r))
			must(t, maker.Del(ctx, made))
			if got := rules(t, pod); got != "" {
				t.Errorf("%s: rules after DEL:\n%s", tt.name, got)
			}
		}
	})
}

// TestTaken: a table is free if neither a rule nor a route uses it.
func TestTaken(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h := plugintest.Host(t)
		pod := netnstest.NewPod(t, "pod1")
		made := attach(t, bridge.New(h), "bridge", pod, 1)
		plugintest.Run(t, pod, "ip", "rule", "add", "from", "198.51.100.1", "lookup", "100")
		plugintest.Run(t, pod, "ip", "route", "add", "198.51.100.0/24", "dev", "lo", "table", "102")
		_, err := sbr.New(h).Add(ctx, request(made, ""))
		must(t, err)
		got := rules(t, pod)
		for _, want := range []string{"from 10.1.0.5 lookup 101", "from fd00:1::5 lookup 103"} {
			if !strings.Contains(got, want) {
				t.Errorf("want %q in\n%s", want, got)
			}
		}
		must(t, sbr.New(h).Del(ctx, request(made, "")))
		if got := rules(t, pod); !strings.Contains(got, "from 198.51.100.1 lookup 100") {
			t.Errorf("another's rule is gone:\n%s", got)
		}
	})
}

// TestConcurrent: the interfaces of one pod, all at once, get different tables.
func TestConcurrent(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h := plugintest.Host(t)
		p, maker := sbr.New(h), bridge.New(h)
		pod := netnstest.NewPod(t, "pod1")
		var made []*cni.Request
		for n := range 6 {
			made = append(made, attach(t, maker, "bridge", pod, n+1))
		}
		var all sync.WaitGroup
		for _, r := range made {
			all.Go(func() {
				if _, err := p.Add(ctx, request(r, "")); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		for _, r := range made {
			must(t, p.Check(ctx, request(r, "")))
		}
		seen := make(map[string]bool)
		for _, m := range regexp.MustCompile(`lookup (\d+)`).FindAllStringSubmatch(rules(t, pod), -1) {
			if seen[m[1]] {
				t.Errorf("table %s is used twice:\n%s", m[1], rules(t, pod))
			}
			seen[m[1]] = true
		}
		if len(seen) != 12 {
			t.Errorf("%d tables, want 12", len(seen))
		}
	})
}

func TestCheck(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h := plugintest.Host(t)
		p, maker := sbr.New(h), bridge.New(h)
		pod := netnstest.NewPod(t, "pod1")
		for _, tt := range []struct{ keys, breaks, want string }{
			{"", "rule del from 10.1.0.5", "rule from 10.1.0.5 is gone"},
			{"", "-6 rule del from fd00:1::5", "rule from fd00:1::5 is gone"},
			{"", "route del default table 100", "route 0.0.0.0/0 over eth1 is gone from table 100"},
			{"", "route flush table 100", "route 10.1.0.0/24 over eth1 is gone from table 100"},
			{"", "route del 172.16.0.0/12 table 100", "route 172.16.0.0/12 via 10.1.0.254 over eth1 is gone from table 100"},
			{"", "-6 route del default table 101", "route ::/0 over eth1 is gone from table 101"},
			{`,"gateways":["10.1.0.9"]`, "route replace default via 10.1.0.8 dev eth1 table 100", "route 0.0.0.0/0 via 10.1.0.9 over eth1 is gone"},
			{`,"addSourceHints":true`, "route del 10.1.0.0/24 table main", "route 10.1.0.0/24 over eth1 with a source is gone from the main table"},
			{`,"addSourceHints":true`, "-6 route replace fd00:1::/64 dev eth1 metric 256 table main", "route fd00:1::/64 over eth1 with a source"},
			{`,"table":300`, "rule del from 10.1.0.5", "rule from 10.1.0.5 is gone"},
			{`,"table":300`, "rule add from 10.1.0.5 lookup 301", "not to table 300"},
		} {
			made := attach(t, maker, "bridge", pod, 1)
			r := request(made, tt.keys)
			_, err := p.Add(ctx, r)
			must(t, err)
			must(t, p.Check(ctx, r))
			plugintest.Run(t, pod, "ip", strings.Fields(tt.breaks)...)
			plugintest.WantError(t, tt.breaks, p.Check(ctx, r), cni.CodeInternal, tt.want)
			for range 2 {
				must(t, errors.Join(p.Del(ctx, request(made, "")), maker.Del(ctx, made)))
			}
		}
	})
}

// TestDel: whatever DEL is not told, and no file is made where a namespace was.
func TestDel(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h := plugintest.Host(t)
		p, maker := sbr.New(h), bridge.New(h)
		pod := netnstest.NewPod(t, "pod1")
		var made *cni.Request
		add := func() *cni.Request {
			t.Helper()
			made = attach(t, maker, "bridge", pod, 1)
			r := request(made, "")
			_, err := p.Add(ctx, r)
			must(t, err)
			return r
		}
		r := add()
		r.Prev = nil // by the interface's addresses
		must(t, p.Del(ctx, r))
		must(t, p.Del(ctx, r))
		if got := rules(t, pod); got != "" {
			t.Errorf("without prevResult:\n%s", got)
		}
		must(t, maker.Del(ctx, made))
		r = add()
		r.Config.JSON = json.RawMessage(`{"table":"none"}`)
		plugintest.Run(t, pod, "ip", "link", "del", "eth1") // by prevResult
		must(t, p.Del(ctx, r))
		if got := rules(t, pod); got != "" {
			t.Errorf("without interface:\n%s", got)
		}
		for _, path := range []string{"", "/run/netns/none"} {
			r.NetNS = path
			must(t, p.Del(ctx, r))
		}
		if files, _ := filepath.Glob("/run/netns/*"); len(files) != 1 {
			t.Errorf("files: %q", files)
		}
		must(t, p.GC(ctx, r))
		must(t, p.Status(ctx, request(made, "")))
	})
}

func TestInvalid(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h := plugintest.Host(t)
		pod := netnstest.NewPod(t, "pod1")
		made := attach(t, bridge.New(h), "bridge", pod, 1)
		before := routesOf(t, pod, "main", "100", "101")
		for _, tt := range []struct {
			keys, want string
			code       cni.Code
		}{
			{`,"table":0`, "table 0: must be 1 to", cni.CodeInvalidConfig},
			{`,"table":-1`, "table -1", cni.CodeInvalidConfig},
			{`,"table":"x"`, "table", cni.CodeDecoding},
			{`,"table":5,"addSourceHints":true`, "with it no routes are made", cni.CodeInvalidConfig},
			{`,"gateways":["10.1.0.1","10.1.0.2"]`, "one IPv4 and one IPv6 address at most", cni.CodeInvalidConfig},
			{`,"gateways":["fd00::1","fd00::2"]`, "one IPv4 and one IPv6 address at most", cni.CodeInvalidConfig},
			{`,"gateways":["0.0.0.0"]`, "is no gateway's address", cni.CodeInvalidConfig},
			{`,"gateways":["10.1.0.1/24"]`, "10.1.0.1/24", cni.CodeDecoding},
			{`,"gateways":["::ffff:10.1.0.1"]`, "is no gateway's address", cni.CodeInvalidConfig},
		} {
			_, err := sbr.New(h).Add(ctx, request(made, tt.keys))
			plugintest.WantError(t, tt.keys, err, tt.code, tt.want)
		}
		r := request(made, "")
		r.Prev = &cni.Result{Interfaces: made.Prev.Interfaces}
		_, err := sbr.New(h).Add(ctx, r)
		plugintest.WantError(t, "no addresses", err, cni.CodeInvalidConfig, "has no addresses")
		r.Prev = made.Prev.Clone() // others' addresses, those of the host's end say, are not the interface's
		for i := range r.Prev.IPs {
			r.Prev.IPs[i].Interface = new(int)
		}
		_, err = sbr.New(h).Add(ctx, r)
		plugintest.WantError(t, "others' addresses", err, cni.CodeInvalidConfig, "has no addresses of eth1")
		r.Prev = nil
		_, err = sbr.New(h).Add(ctx, r)
		plugintest.WantError(t, "no prevResult", err, cni.CodeInvalidConfig, "needs prevResult")
		if diff := cmp.Diff(before, routesOf(t, pod, "main", "100", "101")); diff != "" || rules(t, pod) != "" {
			t.Errorf("touched (-want +got):\n%s%s", diff, rules(t, pod))
		}
	})
}
