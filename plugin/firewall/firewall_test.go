package firewall_test

import (
	"context"
	"errors"
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
	"github.com/seamnet/seam/plugin/firewall"
	"github.com/seamnet/seam/plugin/plugintest"
)

func TestInvalid(t *testing.T) {
	prev := result("bra", "va", "/x", "10.1.0.2/24")
	pod := &cni.Result{Interfaces: []cni.Interface{{Name: "eth0", Sandbox: "/x"}}, IPs: prev.IPs}
	tests := []struct {
		keys string
		prev *cni.Result
		code cni.Code
		want string
	}{
		{`,"backend":"ipfw"`, prev, cni.CodeInvalidConfig, `backend "ipfw": must be nftables, iptables or firewalld`},
		{`,"backend":4`, prev, cni.CodeDecoding, "backend"},
		{`,"ingressPolicy":"closed"`, prev, cni.CodeInvalidConfig, `ingressPolicy "closed": must be open, same-bridge or isolated`},
		{`,"iptablesAdminChainName":"two words"`, prev, cni.CodeInvalidConfig, "not a chain's name"},
		{`,"iptablesAdminChainName":"-A"`, prev, cni.CodeInvalidConfig, "not a chain's name"},
		{`,"iptablesAdminChainName":"FORWARD"`, prev, cni.CodeInvalidConfig, "is not the administrator's"},
		{`,"iptablesAdminChainName":"CNI-FORWARD"`, prev, cni.CodeInvalidConfig, "is not the administrator's"},
		{`,"iptablesAdminChainName":"` + strings.Repeat("x", 29) + `"`, prev, cni.CodeInvalidConfig, "longer than 28"},
		{`,"firewalldZone":"a b"`, prev, cni.CodeInvalidConfig, "not a zone's name"},
		{``, nil, cni.CodeInvalidConfig, "needs prevResult"},
		{`,"ingressPolicy":"isolated"`, pod, cni.CodeInvalidConfig, "is no bridge of the host"},
		{`,"ingressPolicy":"same-bridge"`, &cni.Result{}, cni.CodeInvalidConfig, "is no bridge of the host"},
		{`,"ingressPolicy":"same-bridge"`, result(`x"-j`, "v", "/x"), cni.CodeInvalidConfig, "is no bridge of the host"},
	}
	netnstest.Host(t, func(t *testing.T) {
		p := seam(t)
		before := plugintest.State(t)
		refused := func(r *cni.Request, code cni.Code, want string) {
			t.Helper()
			for name, err := range map[string]error{"ADD": second(p.Add(ctx, r)), "CHECK": p.Check(ctx, r)} {
				if err == nil || cni.CodeOf(err) != code || !strings.Contains(err.Error(), want) {
					t.Errorf("%s of %s: %v, code %d; want %q, code %d", name, r.Config.JSON, err, cni.CodeOf(err), want, code)
				}
			}
		}
		for _, tt := range tests {
			r := request(t, tt.keys, "c", tt.prev)
			refused(r, tt.code, tt.want)
			must(t, p.Del(ctx, r))
		}
		for _, version := range []string{"", "0.1.0", "0.2.0", "0.3.0", "0.3.1"} {
			r := request(t, "", "c", prev)
			r.Config.Version = version
			refused(r, cni.CodeIncompatibleVersion, "0.4.0 or later")
		}
		if diff := cmp.Diff(before, plugintest.State(t)); diff != "" {
			t.Errorf("touched (-before +after):\n%s", diff)
		}
		if left, _ := os.ReadDir("/run/seam/firewall"); len(left) > 0 {
			t.Errorf("records: %v", left)
		}
	})
}

func second(_ *cni.Result, err error) error { return err }

// Empty strings are what templates of runtimes leave: they are as good as no key.
func TestDefaults(t *testing.T) {
	conf := firewall.Default()
	must(t, request(t, `,"backend":"","ingressPolicy":"","firewalldZone":"","iptablesAdminChainName":""`, "c", nil).Decode(conf))
	if diff := cmp.Diff(firewall.Default(), conf); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The back end that is found is the one that holds the host's policy.
func TestChoice(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		usesIPTables := func(keys string) bool {
			t.Helper()
			p, r := seam(t), request(t, keys, "c", result("bra", "va", "/x", "10.1.0.2/24"))
			prev, err := p.Add(ctx, r)
			must(t, err)
			if diff := cmp.Diff(r.Prev, prev, cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})); diff != "" {
				t.Errorf("result (-prev +got):\n%s", diff)
			}
			must(t, p.Status(ctx, r))
			found := strings.Contains(plugintest.Run(t, nil, "nft", "list", "ruleset"), "CNI-FORWARD")
			must(t, p.Del(ctx, r))
			return found
		}
		expect := func(when, keys string, want bool) {
			t.Helper()
			if got := usesIPTables(keys); got != want {
				t.Errorf("%s: iptables is used: %v, want %v", when, got, want)
			}
			flush(t)
		}
		expect("nothing there", "", false)
		expect("asked for", iptablesKeys, true)
		plugintest.Run(t, nil, "iptables", "-N", "MINE")
		expect("a chain of another name", "", false)
		plugintest.Run(t, nil, "iptables", "-N", "MINE")
		expect("the administrator's chain", `,"iptablesAdminChainName":"MINE"`, true)
		plugintest.Run(t, nil, "ip6tables", "-N", "CNI-ADMIN")
		expect("the administrator's chain of IPv6", "", true)
		plugintest.Run(t, nil, "iptables", "-N", "CNI-ADMIN")
		expect("nftables asked for", nftablesKeys, false)
		if out, err := plugintest.Try(nil, "iptables-legacy", "-S"); err != nil {
			t.Logf("no legacy iptables here: %v\n%s", err, out)
		} else {
			expect("legacy iptables in use", "", true)
		}
	})
}

// A bus that does not answer holds nothing up for long.
func TestHungBus(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		must(t, os.MkdirAll("/run/dbus", 0o755))
		l, err := net.Listen("unix", "/run/dbus/system_bus_socket")
		must(t, err)
		defer l.Close()
		ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		r := request(t, `,"backend":"firewalld"`, "c", result("bra", "va", "/x", "10.1.0.2/24"))
		p, start := seam(t), time.Now()
		if err := p.Status(ctx, r); cni.CodeOf(err) != cni.CodeNotAvailable {
			t.Errorf("STATUS: %v", err)
		}
		if waited := time.Since(start); waited > 2*time.Second {
			t.Errorf("waited %s for the bus", waited)
		}
	})
}

func TestNFTablesLifecycle(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		p := seam(t)
		ip(t, nil, "link add bra type bridge")
		add := func(keys, id, port, addr string) *cni.Request {
			t.Helper()
			r := request(t, nftablesKeys+keys, id, result("bra", port, "/gone", addr))
			must(t, second(p.Add(ctx, r)))
			return r
		}
		const sameBridge, isolated = `,"ingressPolicy":"same-bridge"`, `,"ingressPolicy":"isolated"`
		live := add(isolated, "live", "v1", "10.1.0.2/24")
		must(t, p.Del(ctx, live))
		live = add(sameBridge, "live", "v1", "10.1.0.2/24")
		want := plugintest.State(t)
		compare := func(when string) {
			t.Helper()
			if diff := cmp.Diff(want, plugintest.State(t)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", when, diff)
			}
		}
		for range 2 {
			add(isolated, "dead", "v2", "10.1.0.3/24")
			other := add(sameBridge, "other", "v3", "10.1.0.4/24")
			if got := plugintest.State(t); strings.Contains(got, `"bra" . "bra"`) {
				t.Errorf("beside an isolated pod, the bridge's wall is not shut:\n%s", got)
			}
			must(t, p.Check(ctx, live))
			must(t, p.Check(ctx, other))
			must(t, p.Del(ctx, request(t, `,"backend":7`, "dead", nil)))
			must(t, p.Del(ctx, request(t, "", "dead", nil)))
			must(t, p.Del(ctx, other))
			compare("after DEL")
		}
		dead := add(isolated, "dead", "v2", "10.1.0.3/24")
		gc := request(t, "", "", nil)
		gc.Attachment = cni.Attachment{Network: "net"}
		must(t, p.GC(ctx, gc))
		must(t, p.Check(ctx, dead))
		gc.Valid = []cni.Attachment{live.Attachment}
		must(t, p.GC(ctx, gc))
		compare("after GC")
		if err := p.Check(ctx, dead); err == nil {
			t.Error("CHECK finds nothing after GC")
		}

		// The last one takes the wall with it, and nothing is recorded any more.
		must(t, p.Del(ctx, live))
		if got := plugintest.State(t); strings.Contains(got, `"bra"`) {
			t.Errorf("left behind:\n%s", got)
		}
	})
}

func TestNFTablesCheck(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h := plugintest.Host(t)
		p := newOn(h)
		ip(t, nil, "link add bra type bridge")
		plugintest.Run(t, nil, "iptables", "-P", "FORWARD", "DROP")
		r := request(t, nftablesKeys+`,"ingressPolicy":"isolated"`, "c", result("bra", "v1", "/x", "10.1.0.2/24"))
		must(t, second(p.Add(ctx, r)))
		must(t, p.Check(ctx, r))
		tests := []struct{ damage, want string }{
			{"nft flush set inet seam walled", "map walled lacks it"},
			{"nft flush set bridge seam isolated", "map isolated lacks it"},
			{"nft flush chain inet seam forward", "chain forward: rules are missing"},
			{"nft flush chain bridge seam forward", "chain forward: rules are missing"},
			{"iptables -F FORWARD", "forwarding of bra"},
			{"nft flush ruleset", "table inet seam is missing"},
		}
		for _, tt := range tests {
			words := strings.Fields(tt.damage)
			plugintest.Run(t, nil, words[0], words[1:]...)
			if err := p.Check(ctx, r); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("after %s: %v, want %q", tt.damage, err, tt.want)
			}
			must(t, h.Repair())
			must(t, firewall.Repair(ctx, h))
			if err := p.Check(ctx, r); err != nil {
				t.Errorf("repaired after %s: %v", tt.damage, err)
			}
		}
	})
}

// A link of the attachment's own, a veth of ptp, is admitted as long as it lives.
func TestAdmissionGoesWithAttachment(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		plugintest.Run(t, nil, "iptables", "-P", "FORWARD", "DROP")
		before := rules(t)
		ip(t, nil, "link add veth7 type veth peer name peer7")
		p := seam(t)
		r := request(t, nftablesKeys, "c", result("veth7", "", "/x", "10.1.0.2/24"))
		r.Prev.Interfaces = r.Prev.Interfaces[:1]
		must(t, second(p.Add(ctx, r)))
		if got := rules(t); !strings.Contains(got, "-A SEAM-veth7 -i veth7 -j ACCEPT") {
			t.Errorf("not admitted:\n%s", got)
		}
		must(t, p.Del(ctx, request(t, "", "c", nil)))
		if diff := cmp.Diff(before, rules(t)); diff != "" {
			t.Errorf("left behind (-before +after):\n%s", diff)
		}

		// That of a bridge, which others use, goes when the bridge has gone.
		ip(t, nil, "link add bra type bridge")
		r = request(t, nftablesKeys, "c", result("bra", "v", "/x", "10.1.0.2/24"))
		must(t, second(p.Add(ctx, r)))
		must(t, p.Del(ctx, r))
		gc := request(t, "", "", nil)
		gc.Attachment, gc.Valid = cni.Attachment{Network: "net"}, []cni.Attachment{}
		must(t, p.GC(ctx, gc))
		if got := rules(t); !strings.Contains(got, "-j SEAM-bra") {
			t.Errorf("the bridge is not admitted any more:\n%s", got)
		}
		ip(t, nil, "link del bra")
		must(t, p.GC(ctx, gc))
		if diff := cmp.Diff(before, rules(t)); diff != "" {
			t.Errorf("left behind by GC (-before +after):\n%s", diff)
		}
	})
}

// A record that a power failure cut short does not stand in the way.
func TestBrokenRecord(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h := plugintest.Host(t)
		p := newOn(h)
		r := request(t, iptablesKeys, "c", result("bra", "va", "/x", "10.1.0.2/24"))
		must(t, second(p.Add(ctx, r)))
		records, err := os.ReadDir(h.Dirs.State + "/firewall")
		must(t, err)
		must(t, os.WriteFile(h.Dirs.State+"/firewall/"+records[0].Name(), []byte(`{"tag":`), 0o600))
		must(t, errors.Join(p.Del(ctx, r), p.Del(ctx, r)))
		if got := rules(t); strings.Contains(got, "10.1.0.2") {
			t.Errorf("left behind:\n%s", got)
		}
	})
}
