package masquerade_test

import (
	"context"
	"fmt"
	"io"
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
	"github.com/seamnet/seam/plugin/masquerade"
	"github.com/seamnet/seam/plugin/plugintest"
)

var ctx = context.Background()

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func request(t testing.TB, keys string, pod *netnstest.Pod, id string, prev *cni.Result) *cni.Request {
	t.Helper()
	r := plugintest.Request(t, `{"cniVersion":"1.1.0","name":"net","type":"masquerade"`+keys+`}`, pod, id, nil)
	r.Prev = prev
	return r
}

// newWorld makes a pod, a neighbour network that knows no way back to it, and one
// that does, each behind a link of the host. In each, a server tells who connects.
func newWorld(t *testing.T) (pod *netnstest.Pod, result *cni.Result) {
	t.Helper()
	for _, s := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		must(t, os.WriteFile("/proc/sys/net/"+s, []byte("1"), 0))
	}
	pod = behind(t, "pod", "10.1.0", "fd00:1:")
	for name, net := range map[string][2]string{"outside": {"192.0.2", "2001:db8:"}, "routed": {"10.2.0", "fd00:2:"}} {
		serve(t, behind(t, name, net[0], net[1]))
	}
	zero := 0
	result = &cni.Result{Interfaces: []cni.Interface{{Name: "eth0", Sandbox: pod.Path}}}
	for _, a := range []string{"10.1.0.9/24", "fd00:1::9/64"} {
		result.IPs = append(result.IPs, cni.IP{Address: netip.MustParsePrefix(a), Interface: &zero})
	}
	return pod, result
}

// behind makes a namespace with the addresses ending in 9, whose way out is the host
// with those ending in 1.
func behind(t *testing.T, name, net4, net6 string) *netnstest.Pod {
	t.Helper()
	p := netnstest.NewPod(t, name)
	// Without a link-local address that is usable, a host cannot ask for a neighbour.
	noDAD := func() error { return os.WriteFile("/proc/sys/net/ipv6/conf/default/accept_dad", []byte("0"), 0) }
	must(t, noDAD())
	must(t, p.NS.Do(noDAD))
	ip := func(in *netnstest.Pod, command string) {
		t.Helper()
		command = strings.NewReplacer("LINK", "v"+name, "NET4", net4, "NET6", net6).Replace(command)
		plugintest.Run(t, in, "ip", strings.Fields(command)...)
	}
	ip(nil, "link add LINK type veth peer name eth0 netns "+name)
	ip(nil, "addr add NET4.1/24 dev LINK")
	ip(nil, "addr add NET6:1/64 dev LINK nodad")
	ip(nil, "link set LINK up")
	ip(p, "addr add NET4.9/24 dev eth0")
	ip(p, "addr add NET6:9/64 dev eth0 nodad")
	ip(p, "link set eth0 up")
	ip(p, "route add default via NET4.1")
	ip(p, "-6 route add default via NET6:1")
	return p
}

func serve(t *testing.T, pod *netnstest.Pod) {
	t.Helper()
	must(t, pod.NS.Do(func() error {
		l, err := net.Listen("tcp", ":80")
		if err != nil {
			return err
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				peer := netip.MustParseAddrPort(c.RemoteAddr().String())
				io.WriteString(c, peer.Addr().Unmap().String())
				c.Close()
			}
		}()
		return nil
	}))
}

// seenAs returns the address that the server sees of the pod.
func seenAs(t *testing.T, pod *netnstest.Pod, server string) (seen string) {
	t.Helper()
	must(t, pod.NS.Do(func() error {
		c, err := net.DialTimeout("tcp", server, 5*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		b, err := io.ReadAll(c)
		seen = string(b)
		return err
	}))
	return seen
}

func TestTraffic(t *testing.T) {
	tests := []struct {
		name, keys                  string
		outside4, routed4, outside6 string // what servers there see
	}{
		{"default", "", "192.0.2.1", "10.2.0.1", "2001:db8::1"},
		{"except", `,"except":["10.2.0.0/16","fd00:2::/32"]`, "192.0.2.1", "10.1.0.9", "2001:db8::1"},
		{"except a host", `,"except":["10.2.0.9/32","2001:db8::9/128"]`, "192.0.2.1", "10.1.0.9", "fd00:1::9"},
		{"except all of a family", `,"except":["::/0"]`, "192.0.2.1", "10.2.0.1", "fd00:1::9"},
		{"own subnet too", `,"exceptOwnSubnet":false`, "192.0.2.1", "10.2.0.1", "2001:db8::1"},
	}
	netnstest.Host(t, func(t *testing.T) {
		pod, prev := newWorld(t)
		p := masquerade.New(plugintest.Host(t))
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				r := request(t, tt.keys, pod, "c", prev)
				result, err := p.Add(ctx, r)
				must(t, err)
				if diff := cmp.Diff(prev, result, cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})); diff != "" {
					t.Errorf("result (-prev +got):\n%s", diff)
				}
				must(t, p.Check(ctx, r))
				for server, want := range map[string]string{
					"192.0.2.9:80": tt.outside4, "10.2.0.9:80": tt.routed4, "[2001:db8::9]:80": tt.outside6,
				} {
					if got := seenAs(t, pod, server); got != want {
						t.Errorf("%s sees %s, want %s", server, got, want)
					}
				}
				must(t, p.Del(ctx, r))
			})
		}
		if got := seenAs(t, pod, "192.0.2.9:80"); got != "10.1.0.9" {
			t.Errorf("after DEL: seen as %s", got)
		}
	})
}

func TestElements(t *testing.T) {
	prev := &cni.Result{IPs: []cni.IP{
		{Address: netip.MustParsePrefix("10.1.0.9/24")}, {Address: netip.MustParsePrefix("10.5.0.9/24")},
		{Address: netip.MustParsePrefix("fd00:1::9/64")},
	}}
	tests := []struct{ name, keys, want string }{
		{"default", "", `[ip saddr 10.1.0.9 masquerade, except to { 10.1.0.0/24, 10.5.0.0/24 } ip saddr 10.5.0.9 masquerade, except to { 10.1.0.0/24, 10.5.0.0/24 } ip6 saddr fd00:1::9 masquerade, except to fd00:1::/64]`},
		{"nothing excepted", `,"exceptOwnSubnet":false`, `[ip saddr 10.1.0.9 masquerade ip saddr 10.5.0.9 masquerade ip6 saddr fd00:1::9 masquerade]`},
		{"host bits", `,"exceptOwnSubnet":false,"except":["172.16.3.4/12","10.0.0.0/8","10.0.0.0/8"]`, `[ip saddr 10.1.0.9 masquerade, except to { 10.0.0.0/8, 172.16.0.0/12 } ip saddr 10.5.0.9 masquerade, except to { 10.0.0.0/8, 172.16.0.0/12 } ip6 saddr fd00:1::9 masquerade]`},
	}
	for _, tt := range tests {
		r := request(t, tt.keys, nil, "c", prev)
		conf := masquerade.Default()
		must(t, r.Decode(conf))
		elements, err := conf.Elements(r)
		must(t, err)
		if diff := cmp.Diff(tt.want, fmt.Sprint(elements)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestInvalid(t *testing.T) {
	tests := []struct {
		keys string
		code cni.Code
		want string
	}{
		{`,"except":"10.0.0.0/8"`, cni.CodeDecoding, "except"},
		{`,"except":["10.0.0.1"]`, cni.CodeDecoding, "10.0.0.1"},
		{`,"except":["::ffff:10.0.0.0/104"]`, cni.CodeInvalidConfig, "write an IPv4 prefix as such"},
		{`,"except":[""]`, cni.CodeInvalidConfig, "except: an empty prefix"},
		{`,"exceptOwnSubnet":"yes"`, cni.CodeDecoding, "exceptOwnSubnet"},
	}
	netnstest.Host(t, func(t *testing.T) {
		p := masquerade.New(plugintest.Host(t))
		before := plugintest.State(t)
		for _, tt := range tests {
			_, err := p.Add(ctx, request(t, tt.keys, nil, "c", &cni.Result{}))
			if err == nil || cni.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v, code %d; want %q, code %d", tt.keys, err, cni.CodeOf(err), tt.want, tt.code)
			}
		}
		if _, err := p.Add(ctx, request(t, "", nil, "c", nil)); cni.CodeOf(err) != cni.CodeInvalidConfig {
			t.Errorf("no prevResult: %v", err)
		}
		if diff := cmp.Diff(before, plugintest.State(t)); diff != "" {
			t.Errorf("touched (-want +got):\n%s", diff)
		}
	})
}

func TestLifecycle(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		prev := func(n int) *cni.Result {
			return &cni.Result{IPs: []cni.IP{{Address: netip.MustParsePrefix(fmt.Sprintf("10.1.0.%d/24", n))}}}
		}
		p := masquerade.New(plugintest.Host(t))
		live := request(t, "", nil, "live", prev(2))
		_, err := p.Add(ctx, live)
		must(t, err)
		want := plugintest.State(t)
		same := func(when string) {
			t.Helper()
			if diff := cmp.Diff(want, plugintest.State(t)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", when, diff)
			}
		}
		for range 2 {
			_, err = p.Add(ctx, request(t, "", nil, "dead", prev(3)))
			must(t, err)
			must(t, p.Del(ctx, request(t, `,"except":7`, nil, "dead", nil)))
			must(t, p.Del(ctx, request(t, "", nil, "dead", nil)))
			same("DEL")
		}

		_, err = p.Add(ctx, request(t, `,"except":["192.0.2.0/24"]`, nil, "dead", prev(3)))
		must(t, err)
		gc := request(t, "", nil, "", nil)
		gc.Attachment = cni.Attachment{Network: "net"}
		both := plugintest.State(t)
		must(t, p.GC(ctx, gc))
		if diff := cmp.Diff(both, plugintest.State(t)); diff != "" {
			t.Errorf("GC without a list (-want +got):\n%s", diff)
		}
		gc.Valid = []cni.Attachment{live.Attachment}
		must(t, p.GC(ctx, gc))
		same("GC")

		must(t, p.Status(ctx, live))
		plugintest.Run(t, nil, "nft", "flush", "map", "inet", "seam", "masq4")
		if err := p.Check(ctx, live); err == nil || !strings.Contains(err.Error(), "map masq4 lacks it") {
			t.Errorf("Check: %v", err)
		}
	})
}
