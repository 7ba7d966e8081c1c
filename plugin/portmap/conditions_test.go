package portmap_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/nft"
	"github.com/seamnet/seam/plugin/plugintest"
	"github.com/seamnet/seam/plugin/portmap"
)

// forwards decodes a configuration with these keys and one mapping, and tells what it
// forwards in both families.
func forwards(t testing.TB, keys string) ([]string, error) {
	t.Helper()
	prev := &cni.Result{IPs: []cni.IP{
		{Address: netip.MustParsePrefix("10.1.0.2/24")}, {Address: netip.MustParsePrefix("fd00::2/64")},
	}}
	r := request(t, keys, nil, "web", prev, `[{"hostPort":80,"containerPort":80}]`)
	c := portmap.Default()
	if err := r.Decode(c); err != nil {
		return nil, err
	}
	elements, err := c.Elements(r)
	var list []string
	for _, e := range elements {
		if f, ok := e.(nft.Forward); ok {
			list = append(list, f.String())
		}
	}
	return list, err
}

func TestConditionsRead(t *testing.T) {
	const to4, to6 = "tcp dport 80 dnat to 10.1.0.2:80", "tcp dport 80 dnat to [fd00::2]:80"
	tests := []struct {
		name, keys string
		v4, v6     string // before the rest
	}{
		{"none", `,"conditionsV4":[],"conditionsV6":null`, "", ""},
		{"as documented", `,"conditionsV4":["!","-d","192.0.2.0/24"],"conditionsV6":["!","-d","fc00::/7"]`,
			"ip daddr != 192.0.2.0/24 ", "ip6 daddr != fc00::/7 "},
		{"as documented, nft", `,"backend":"nftables","conditionsV4":["ip","daddr","!=","192.0.2.0/24"],"conditionsV6":["ip6","daddr","!=","fc00::/7"]`,
			"ip daddr != 192.0.2.0/24 ", "ip6 daddr != fc00::/7 "},
		{"nft, not asked for", `,"conditionsV4":["ip daddr != 192.0.2.0/24"]`, "ip daddr != 192.0.2.0/24 ", ""},
		{"list", `,"conditionsV4":["-d","192.0.2.1/32,192.0.2.2","--src","10.0.0.0/8"]`, "ip daddr { 192.0.2.1, 192.0.2.2 } ip saddr 10.0.0.0/8 ", ""},
		{"netmask, host bits, joined", `,"conditionsV4":["--source=10.1.2.3/255.0.0.0"],"conditionsV6":["--destination","fd12::1/16"]`,
			"ip saddr 10.0.0.0/8 ", "ip6 daddr fd12::/16 "},
		{"always", `,"backend":"iptables","conditionsV4":["-s","0.0.0.0/0,10.0.0.1","-i","+"],"conditionsV6":["-m","comment","--comment","any"]`, "", ""},
		{"interfaces", `,"conditionsV4":["-i","eth0","!","-o","lo"],"conditionsV6":["!","--in-interface","wan+"]`,
			`iifname "eth0" oifname != "lo" `, `iifname != "wan*" `},
		{"mark", `,"conditionsV4":["-m","comment","-m","mark","--comment","x","!","--mark","0x10/0x30"],"conditionsV6":["-m","mark","--mark","010"]`,
			"meta mark & 0x00000030 != 0x00000010 ", "meta mark 0x00000008 "},
		{"addrtype", `,"conditionsV4":["-m","addrtype","!","--src-type","LOCAL,MULTICAST","--dst-type","LOCAL"]`,
			"fib saddr type != { local, multicast } fib daddr type local ", ""},
		{"nft sets", `,"conditionsV4":["ip saddr!={10.0.0.0/8,192.168.0.0/16,} ip daddr == 192.0.2.1","iifname { \"eth0\", wan* }"],"conditionsV6":["ip6","saddr","ne","{","fd00::/8","}"]`,
			`ip saddr != { 10.0.0.0/8, 192.168.0.0/16 } ip daddr 192.0.2.1 iifname { "eth0", "wan*" } `, "ip6 saddr != fd00::/8 "},
		{"nft meta", `,"conditionsV4":["meta mark & 0xf0 == 0x10","mark != 1 meta iifname eth0"],"conditionsV6":["fib saddr type != local meta oifname != \"eth0\""]`,
			`meta mark & 0x000000f0 == 0x00000010 meta mark != 0x00000001 iifname "eth0" `, `fib saddr type != local oifname != "eth0" `},
		{"nft, always", `,"backend":"nftables","conditionsV4":["", "ip saddr 0.0.0.0/0"],"conditionsV6":[""]`, "", ""},
	}
	for _, tt := range tests {
		got, err := forwards(t, tt.keys)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if diff := cmp.Diff([]string{tt.v4 + to4, tt.v6 + to6}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestConditionsRefused(t *testing.T) {
	tests := []struct{ words, want string }{
		// In iptables' words.
		{`"-m","set","--match-set","whitelist","src"`, `-m set: cannot be said`},
		{`"-s"`, `"-s": an option with a value is wanted`},
		{`"!"`, `nothing after "!"`},
		{`"!","!","-s","10.0.0.1"`, "cannot be said"},
		{`"-s10.0.0.1","x"`, `"-s10.0.0.1": cannot be said`},
		{`"-p","tcp"`, `"-p": cannot be said`},
		{`"--sport","80"`, `"--sport": cannot be said`},
		{`"-j","ACCEPT"`, `"-j": cannot be said`},
		{`"-s","10.0.0.1","10.0.0.2"`, "an option with a value is wanted"},
		{`"-s","10.0.0.1","-s","10.0.0.2"`, "given twice"},
		{`"-i","eth0","-i","eth1"`, "given twice"},
		{`"-s","example.com"`, `"example.com": not an IPv4 address`},
		{`"-s","fd00::1"`, `"fd00::1": not an IPv4 address`},
		{`"-s","::ffff:10.0.0.1"`, "not an IPv4 address"},
		{`"-s","10.0.0.0/255.0.255.0"`, "not an IPv4 address"},
		{`"-s","10.0.0.0/33"`, "not an IPv4 address"},
		{`"-s","10.0.0.1,"`, `"": not an IPv4 address`},
		{`"!","-s","10.0.0.1,10.0.0.2"`, "negates no list"},
		{`"!","-s","0.0.0.0/0"`, "never holds"},
		{`"!","-i","+"`, "never holds"},
		{`"-i","eth*"`, "not an interface's name"},
		{`"-i","a-name-too-long0"`, "not an interface's name"},
		{`"-i",""`, "not an interface's name"},
		{`"--mark","1"`, `"--mark": cannot be said`},
		{`"-m","mark"`, "-m mark: nothing is to be matched"},
		{`"-m","mark","-m","mark","--mark","1"`, "out of place"},
		{`"!","-m","mark","--mark","1"`, "out of place"},
		{`"-m","mark","--mark","1_0"`, "not a number"},
		{`"-m","mark","--mark","1/"`, "not a number"},
		{`"-m","mark","--mark","2/1"`, "outside of mask"},
		{`"-m","comment","!","--comment","x"`, "nothing to negate"},
		{`"-m","addrtype","--src-type","HOME"`, "not a type of address"},
		{`"-m","addrtype","--limit-iface-in","x"`, "cannot be said"},
		{`""`, "a value is wanted"},
		// In nft's.
		{`"ip6 saddr fd00::1"`, `"ip6": cannot be said in Seam's rules of ip`},
		{`"tcp dport 80"`, `"tcp": cannot be said`},
		{`"meta ip saddr 10.0.0.1"`, `"ip": cannot be said`},
		{`"ip ttl 1"`, `"ttl": saddr or daddr is wanted`},
		{`"ip saddr"`, `"": a value is wanted`},
		{`"ip saddr !="`, `"": a value is wanted`},
		{`"ip saddr { 10.0.0.1"`, `a comma or } is wanted`},
		{`"ip saddr {}"`, `"}": a value is wanted`},
		{`"ip saddr 10.0.0.1-10.0.0.9"`, "not an IPv4 address"},
		{`"ip saddr @list"`, "not an IPv4 address"},
		{`"ip saddr != 0.0.0.0/0"`, "never holds"},
		{`"ip saddr 10.0.0.1 accept"`, `"accept": cannot be said`},
		{`"ip saddr 10.0.0.1;", "accept"`, "not an IPv4 address"},
		{`"ip saddr 10.0.0.1\naccept"`, "not an IPv4 address"},
		{`"iif eth0"`, `"iif": cannot be said`},
		{`"iifname \"eth0"`, "a quote does not end"},
		{`"iifname \"\""`, "not an interface's name"},
		{`"iifname *"`, "not an interface's name"},
		{`"meta mark & 1"`, "== or != is wanted"},
		{`"meta mark & x == 1"`, "mask of mark: not a number"},
		{`"meta mark { 1, 2 }"`, "not one number"},
		{`"mark high"`, "not one number"},
		{`"fib saddr . iif type local"`, "type is wanted"},
		{`"fib daddr type home"`, "not a type of address"},
	}
	for _, tt := range tests {
		got, err := forwards(t, `,"conditionsV4":[`+tt.words+`]`)
		if err == nil || cni.CodeOf(err) != cni.CodeUnsupportedField || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "conditionsV4 [") {
			t.Errorf("%s: %q, %v, want %q with code 2", tt.words, got, err, tt.want)
		}
	}
}

// TestBackendKeys: keys of one backend are refused where the other is meant.
func TestBackendKeys(t *testing.T) {
	const ipt4, nft4, nft6, mark = `,"conditionsV4":["-i","eth0"]`, `,"conditionsV4":["iifname eth0"]`, `,"conditionsV6":["iifname eth0"]`, `,"externalSetMarkChain":"KUBE-MARK-MASQ"`
	tests := []struct{ keys, want string }{
		{ipt4 + mark, ""},
		{nft4 + nft6, ""},
		{`,"backend":"iptables"` + ipt4 + mark, ""},
		{`,"backend":"nftables"` + nft4 + `,"markMasqBit":14`, ""},
		{`,"backend":"iptables"` + nft6, "backend iptables: conditionsV6 is in the words of the other backend"},
		{`,"backend":"nftables"` + ipt4 + mark, "backend nftables: externalSetMarkChain and conditionsV4"},
		{`,"backend":"nftables"` + mark, "backend nftables: externalSetMarkChain"},
		{ipt4 + nft6, "conditionsV4 is in the words of iptables and conditionsV6 in those of nftables"},
		{mark + nft4, "externalSetMarkChain is in the words of iptables and conditionsV4 in those of nftables"},
	}
	for _, tt := range tests {
		_, err := forwards(t, tt.keys)
		if tt.want == "" && err != nil || tt.want != "" && (cni.CodeOf(err) != cni.CodeInvalidConfig || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: error %v, want %q", tt.keys, err, tt.want)
		}
	}
}

// Whatever the words, they are refused with code 2, or what they come to can be put into
// the kernel.
func FuzzConditions(f *testing.F) {
	for _, words := range []string{
		`["!","-d","192.0.2.0/24","-i","eth+"]`, `["-m","mark","--mark","0x1/0x3","-m","addrtype","!","--src-type","LOCAL"]`,
		`["ip saddr != { 10.0.0.0/8, 10.1.0.1 } iifname \"eth*\" meta mark & 3 == 1"]`, `["fib","saddr","type","local"]`,
	} {
		f.Add([]byte(words))
	}
	f.Fuzz(func(t *testing.T, words []byte) {
		var list []string
		if json.Unmarshal(words, &list) != nil {
			return
		}
		for _, key := range []string{"conditionsV4", "conditionsV6"} {
			b, err := json.Marshal(map[string]any{"type": "portmap", "name": "net", key: list})
			if err != nil {
				t.Fatal(err)
			}
			c := portmap.Default()
			r := &cni.Request{Config: cni.Config{Name: "net", Type: "portmap", JSON: b}}
			if err := r.Decode(c); err != nil && cni.CodeOf(err) != cni.CodeUnsupportedField {
				t.Errorf("%s: code %d: %v", b, cni.CodeOf(err), err)
			}
		}
	})
}

// conditioned are conditions in the words of both backends, and who passes them: from
// outside, from another pod, and from the host to the host's address there, and from that
// pod to its gateway.
var conditioned = []struct {
	name                 string
	iptables4, iptables6 string
	nftables4, nftables6 string
	want4, want6         string
	reference            bool // is asked too
}{
	{"source", `"-s","192.0.2.9"`, `"-s","2001:db8::9"`, `"ip","saddr","192.0.2.9"`, `"ip6","saddr","2001:db8::9"`, "outside", "outside", false},
	{"not source", `"!","-s","192.0.2.9"`, `"!","-s","2001:db8::9"`,
		`"ip saddr != 192.0.2.9"`, `"ip6 saddr != 2001:db8::9"`, "pod host gateway", "pod host gateway", true},
	{"interface", `"-i","up+"`, `"-i","up0"`, `"iifname","\"up0\""`, `"iifname","\"up*\""`, "outside", "outside", true},
	{"not interface", `"!","-i","up0"`, `"!","-i","up+"`, `"iifname != up0"`, `"iifname != \"up*\""`, "pod host gateway", "pod host gateway", true},
	{"destination", `"-d","198.51.100.1,192.0.2.1"`, `"-d","2001:db8::1"`,
		`"ip daddr { 198.51.100.1, 192.0.2.1 }"`, `"ip6 daddr 2001:db8::1"`, "outside pod host", "outside pod host", true},
	{"not destination", `"!","-d","192.0.2.0/24"`, `"!","-d","2001:db8::/64"`,
		`"ip daddr != 192.0.2.0/24"`, `"ip6 daddr != 2001:db8::/64"`, "gateway", "gateway", false},
	{"mark", `"-m","mark","--mark","0x10/0xf0"`, `"-m","mark","!","--mark","1"`,
		`"meta mark & 0xf0 == 0x10"`, `"meta mark != 1"`, "outside", "outside host", false},
	{"not local", `"-m","addrtype","!","--src-type","LOCAL"`, `"-m","addrtype","!","--src-type","LOCAL"`,
		`"fib saddr type != local"`, `"fib saddr type != local"`, "outside pod gateway", "outside pod gateway", false},
	{"by loopback", `"-o","lo"`, `"-o","lo"`, `"oifname lo"`, `"oifname lo"`, "host", "host", false},
	{"two", `"-s","192.0.2.0/24","!","-i","up0"`, `"-i","cni0","!","-d","fd00:1::/64"`,
		`"ip saddr 192.0.2.0/24 iifname != up0"`, `"iifname cni0 ip6 daddr != fd00:1::/64"`, "host", "pod", false},
}

func TestConditions(t *testing.T) {
	withReference := os.Getenv("SEAM_REFERENCE_PLUGINS") != ""
	netnstest.Host(t, func(t *testing.T) {
		bridgeNF(t, false)
		w := newWorld(t)
		web, webResult := w.pod("web", 2)
		other, _ := w.pod("other", 3)
		serve(t, web, "tcp", "80", "web")
		plugintest.Run(t, nil, "nft", "add table inet marks; add chain inet marks c { type filter hook prerouting priority mangle; }; "+
			"add rule inet marks c iifname up0 meta mark set 0x11; add rule inet marks c iifname cni0 meta nfproto ipv6 meta mark set 1")
		passes := func(t *testing.T, p cni.Plugin, keys, want4, want6 string, neighbours bool) {
			r := request(t, keys, web, "web", webResult, `[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]`)
			_, err := p.Add(ctx, r)
			must(t, err)
			for _, probe := range []struct {
				name string
				from *netnstest.Pod
				at   string
				want string // if it passes
				all  string // who pass
			}{
				{"outside", w.outside, "192.0.2.1:8080", "web 192.0.2.9", want4},
				{"outside", w.outside, "[2001:db8::1]:8080", "web 2001:db8::9", want6},
				{"host", nil, "192.0.2.1:8080", "web 192.0.2.1", want4},
				{"host", nil, "[2001:db8::1]:8080", "web 2001:db8::1", want6},
				{"pod", other, "192.0.2.1:8080", "web 10.1.0.1", want4},
				{"pod", other, "[2001:db8::1]:8080", "web fd00:1::1", want6},
				{"gateway", other, "10.1.0.1:8080", "web 10.1.0.1", want4},
				{"gateway", other, "[fd00:1::1]:8080", "web fd00:1::1", want6},
			} {
				if probe.from == other && !neighbours {
					continue
				}
				if !slices.Contains(strings.Fields(probe.all), probe.name) {
					probe.want = ""
				}
				t.Run(probe.name, func(t *testing.T) { expect(t, probe.from, "tcp", probe.at, probe.want) })
			}
			must(t, p.Check(ctx, r))
			must(t, p.Del(ctx, r))
		}
		seam := portmap.New(plugintest.Host(t))
		for _, tt := range conditioned {
			iptables := fmt.Sprintf(`,"backend":"iptables","conditionsV4":[%s],"conditionsV6":[%s]`, tt.iptables4, tt.iptables6)
			nftables := fmt.Sprintf(`,"backend":"nftables","conditionsV4":[%s],"conditionsV6":[%s]`, tt.nftables4, tt.nftables6)
			for _, keys := range []string{iptables, nftables} {
				t.Run(tt.name+keys, func(t *testing.T) { passes(t, seam, keys, tt.want4, tt.want6, true) })
			}
			if tt.reference && withReference {
				reference, _ := plugintest.Reference(t, "portmap")
				t.Run("reference, "+tt.name+iptables, func(t *testing.T) { passes(t, reference, iptables, tt.want4, tt.want6, true) })
				// ⚠ With this backend no neighbour of the pod gets its answers.
				t.Run("reference, "+tt.name+nftables, func(t *testing.T) { passes(t, reference, nftables, tt.want4, tt.want6, false) })
			}
		}
	})
}

// TestConditionsTurnAway: whom conditions keep from a port of one address, the port of all
// addresses serves, and, if that is not forwarded either, the host itself.
func TestConditionsTurnAway(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		bridgeNF(t, false)
		w := newWorld(t)
		web, webResult := w.pod("web", 2)
		other, otherResult := w.pod("other", 3)
		serve(t, web, "tcp", "80", "web")
		serve(t, other, "tcp", "80", "other")
		serve(t, nil, "tcp", "8081", "host")
		p := portmap.New(plugintest.Host(t))
		one := request(t, `,"conditionsV4":["-s","192.0.2.9"]`, web, "web", webResult,
			`[{"hostPort":8080,"containerPort":80,"hostIP":"192.0.2.1"},{"hostPort":8081,"containerPort":80}]`)
		all := request(t, "", other, "other", otherResult, `[{"hostPort":8080,"containerPort":80}]`)
		for _, r := range []*cni.Request{one, all} {
			_, err := p.Add(ctx, r)
			must(t, err)
		}
		expect(t, w.outside, "tcp", "192.0.2.1:8080", "web 192.0.2.9")
		expect(t, nil, "tcp", "192.0.2.1:8080", "other 192.0.2.1")
		expect(t, w.outside, "tcp", "192.0.2.1:8081", "web 192.0.2.9")
		expect(t, nil, "tcp", "192.0.2.1:8081", "host 192.0.2.1")

		// A condition that is gone would open the port: CHECK finds it.
		plugintest.Run(t, nil, "nft", "flush", "map", "inet", "seam", "limitedports4")
		if err := p.Check(ctx, one); err == nil || !strings.Contains(err.Error(), "ip saddr 192.0.2.9 tcp dport 8081 dnat to 10.1.0.2:80: map limitedports4 lacks it") {
			t.Errorf("CHECK: %v", err)
		}
		for _, r := range []*cni.Request{one, all} {
			must(t, p.Del(ctx, r))
		}
		if left := plugintest.Run(t, nil, "nft", "list", "ruleset"); strings.Contains(left, "when-") || strings.Contains(left, "elements") {
			t.Errorf("left:\n%s", left)
		}
	})
}
