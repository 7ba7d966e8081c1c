package tuning_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/plugintest"
	"github.com/seamnet/seam/plugin/ptp"
	"github.com/seamnet/seam/plugin/static"
	"github.com/seamnet/seam/plugin/tuning"
)

var ctx = context.Background()

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t *testing.T, when string, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v, want %q", when, err, want)
	}
}

const (
	interfaceConf = `{"cniVersion":"1.1.0","name":"net","type":"ptp","ipam":{"type":"static","addresses":[{"address":"10.1.0.5/24"},{"address":"fd00:1::5/64"}]}}`

	mac = "02:00:00:00:00:aa"
	all = `"mac":"` + mac + `","mtu":1400,"promisc":true,"allmulti":true,"txQLen":77`

	sysctls = `"sysctl":{"net.ipv4.conf.IFNAME.arp_filter":"1","net/core/somaxconn":"500","net.ipv4.ip_local_port_range":"2000 3000"}`
	dataDir = "/run/cni/tuning"
)

type world struct {
	pod  *netnstest.Pod
	prev *cni.Result
	p    cni.Plugin
}

func newWorld(t *testing.T) *world {
	t.Helper()
	h := plugintest.Host(t)
	w := &world{pod: netnstest.NewPod(t, "pod1"), p: tuning.New(h)}
	r := plugintest.Request(t, interfaceConf, w.pod, "c1", cni.Registry{"static": static.New()})
	result, err := ptp.New(h).Add(ctx, r)
	must(t, err)
	w.prev = result
	return w
}

func (w *world) request(t testing.TB, keys string) *cni.Request {
	t.Helper()
	if keys != "" {
		keys = "," + keys
	}
	r := plugintest.Request(t, `{"cniVersion":"1.1.0","name":"net","type":"tuning"`+keys+`}`, w.pod, "c1", nil)
	r.Prev = w.prev
	return r
}

// state is all that the plugin may change.
func (w *world) state(t testing.TB) string {
	t.Helper()
	l := plugintest.Run(t, w.pod, "ip", "-o", "link", "show", "eth0")
	return l + plugintest.Run(t, w.pod, "sysctl", "net.ipv4.conf.eth0.arp_filter", "net.core.somaxconn", "net.ipv4.ip_local_port_range")
}

func files(t testing.TB, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// TestTuning: everything is changed, and everything restored.
func TestTuning(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		before := w.state(t)
		r := w.request(t, all+","+sysctls)
		result, err := w.p.Add(ctx, r)
		must(t, err)
		if got := result.Interfaces[1]; got.MAC.String() != mac || got.Name != "eth0" {
			t.Errorf("result: %+v", result.Interfaces)
		}
		if got := result.Interfaces[0]; got.MAC.String() != w.prev.Interfaces[0].MAC.String() {
			t.Errorf("the host's end: %+v", got)
		}
		got := w.state(t)
		for _, want := range []string{
			mac, "mtu 1400", "PROMISC", "ALLMULTI", "qlen 77",
			"eth0.arp_filter = 1", "somaxconn = 500", "port_range = 2000\t3000",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("want %s in %s", want, got)
			}
		}
		r.Prev = result
		must(t, w.p.Check(ctx, r))
		for range 2 {
			must(t, w.p.Del(ctx, r))
			if diff := cmp.Diff(before, w.state(t)); diff != "" {
				t.Errorf("DEL (-want +got):\n%s", diff)
			}
		}
		if left := files(t, dataDir); left != "" {
			t.Errorf("left: %s", left)
		}
		// Nothing asked for, nothing written down.
		result, err = w.p.Add(ctx, w.request(t, ""))
		must(t, err)
		must(t, w.p.Check(ctx, w.request(t, "")))
		if left := files(t, dataDir); left != "" || len(result.Interfaces) != 2 {
			t.Errorf("files %s, result %+v", left, result)
		}
	})
}

// TestWishes: who asks last counts.
func TestWishes(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		const m = `"mac":"02:00:00:00:00:01"`
		for _, tt := range []struct{ name, keys, args, want string }{
			{"key", m, "", "02:00:00:00:00:01"},
			{"CNI_ARGS", m, "IgnoreUnknown=1;K8S_POD_NAME=x;MAC=02:00:00:00:00:02", "02:00:00:00:00:02"},
			{"capability", m + `,"runtimeConfig":{"mac":"02:00:00:00:00:03"}`, "MAC=02:00:00:00:00:02", "02:00:00:00:00:03"},
			{"args", m + `,"runtimeConfig":{"mac":"02:00:00:00:00:03"},"args":{"cni":{"mac":"02:00:00:00:00:04"}}`, "MAC=02:00:00:00:00:02", "02:00:00:00:00:04"},
			{"capitals", `"mac":"02:00:00:00:00:AB"`, "", "02:00:00:00:00:ab"},
			{"mtu", `"mtu":1300,"args":{"cni":{"mtu":1350}}`, "", "mtu 1350"},
			{"promisc", `"promisc":false,"args":{"cni":{"promisc":true}}`, "", "PROMISC"},
			{"allmulti", `"allmulti":false,"args":{"cni":{"allmulti":true}}`, "", "ALLMULTI"},
			{"txQLen", `"txQLen":5,"args":{"cni":{"txQLen":6}}`, "", "qlen 6"},
			{"sysctl of args alone", `"args":{"cni":{"sysctl":{"net.core.somaxconn":"501"}}}`, "", "somaxconn = 501"},
			{"sysctl of both", `"sysctl":{"net.core.somaxconn":"1","net.ipv4.conf.IFNAME.arp_filter":"1"},"args":{"cni":{"sysctl":{"net.core.somaxconn":"502"}}}`, "", "arp_filter = 1\nnet.core.somaxconn = 502"},
			{"sysctl of both, spelt differently", `"sysctl":{"net.core.somaxconn":"1"},"args":{"cni":{"sysctl":{"net/core/somaxconn":"504"}}}`, "", "somaxconn = 504"},
			{"slashes", `"sysctl":{"net/ipv4/conf/IFNAME/arp_filter":"1"}`, "", "arp_filter = 1"},
			{"only to be written", `"sysctl":{"net.ipv4.route.flush":"1","net.core.somaxconn":"503"}`, "", "somaxconn = 503"},
		} {
			r := w.request(t, tt.keys)
			args, err := cni.ParseArgs(tt.args)
			must(t, err)
			r.Args = args
			r.Prev, err = w.p.Add(ctx, r)
			must(t, err)
			if got := w.state(t); !strings.Contains(got, tt.want) {
				t.Errorf("%s: want %q in %s", tt.name, tt.want, got)
			}
			must(t, w.p.Check(ctx, r))
			must(t, w.p.Del(ctx, r))
		}
	})
}

// TestDottedName: the name of a VLAN's interface has a dot.
func TestDottedName(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		plugintest.Run(t, w.pod, "ip", "link", "set", "eth0", "down")
		plugintest.Run(t, w.pod, "ip", "link", "set", "eth0", "name", "eth0.5")
		for _, key := range []string{"net.ipv4.conf.IFNAME.arp_filter", "net/ipv4/conf/eth0.5/arp_filter"} {
			r := w.request(t, fmt.Sprintf(`"sysctl":{%q:"1"}`, key))
			r.IfName = "eth0.5"
			_, err := w.p.Add(ctx, r)
			must(t, err)
			if got := plugintest.Run(t, w.pod, "cat", "/proc/sys/net/ipv4/conf/eth0.5/arp_filter"); got != "1\n" {
				t.Errorf("%s: %s", key, got)
			}
			must(t, w.p.Del(ctx, r))
		}
	})
}

func TestCheck(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		for breaks, want := range map[string]string{
			"ip link set eth0 address 02:00:00:00:00:bb": "MAC address 02:00:00:00:00:bb, not " + mac,
			"ip link set eth0 mtu 1500":                  "mtu 1500, not 1400",
			"ip link set eth0 promisc off":               "promisc false, not true",
			"ip link set eth0 allmulticast off":          "allmulti false, not true",
			"ip link set eth0 txqueuelen 5":              "txQLen 5, not 77",
			"sysctl -w net.core.somaxconn=9":             `sysctl net/core/somaxconn is "9", not "500"`,
			"sysctl -w net.ipv4.conf.eth0.arp_filter=0":  `arp_filter is "0", not "1"`,
		} {
			r := w.request(t, all+","+sysctls)
			_, err := w.p.Add(ctx, r)
			must(t, err)
			must(t, w.p.Check(ctx, r))
			args := strings.Fields(breaks)
			plugintest.Run(t, w.pod, args[0], args[1:]...)
			wantError(t, breaks, w.p.Check(ctx, r), want)
			must(t, w.p.Del(ctx, r))
		}
		plugintest.Run(t, w.pod, "ip", "link", "set", "eth0", "promisc", "on", "allmulticast", "on")
		err := w.p.Check(ctx, w.request(t, `"mtu":1400,"allmulti":false`))
		for _, want := range []string{"promisc true, not false", "allmulti true, not false", "mtu 1500"} {
			wantError(t, "all at once", err, want)
		}
		plugintest.Run(t, w.pod, "ip", "link", "del", "eth0")
		wantError(t, "gone", w.p.Check(ctx, w.request(t, all)), "link eth0")
	})
}

// TestDel: what was written down goes, whatever has become of the pod, and others' stays.
func TestDel(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		before := w.state(t)
		add := func(keys string) {
			t.Helper()
			_, err := w.p.Add(ctx, w.request(t, keys))
			must(t, err)
		}
		add(all + "," + sysctls)
		r := w.request(t, `"mtu":"broken","sysctl":5`)
		r.Prev = nil
		must(t, w.p.Del(ctx, r))
		if diff := cmp.Diff(before, w.state(t)); diff != "" {
			t.Errorf("invalid configuration (-want +got):\n%s", diff)
		}

		add(all)
		stranger := w.request(t, "")
		stranger.Network = "other" // was refused: the interface is this network's
		must(t, w.p.Del(ctx, stranger))
		must(t, w.p.Check(ctx, w.request(t, all)))
		add(`"mtu":1350`) // a second one of the chain: the first one's values are the original ones
		must(t, w.p.Del(ctx, w.request(t, `"mtu":1350`)))
		must(t, w.p.Del(ctx, w.request(t, all)))
		if diff := cmp.Diff(before, w.state(t)); diff != "" {
			t.Errorf("two in a chain (-want +got):\n%s", diff)
		}

		for name, path := range map[string]string{"no namespace": "", "namespace gone": "/run/netns/none"} {
			add(all)
			r := w.request(t, all)
			r.NetNS = path
			must(t, w.p.Del(ctx, r))
			must(t, w.p.Del(ctx, r))
			if left := files(t, dataDir); left != "" {
				t.Errorf("%s: left %s", name, left)
			}
			plugintest.Run(t, w.pod, "ip", "link", "set", "eth0", "mtu", "1500", "promisc", "off")
		}
		add(all)
		must(t, os.WriteFile(dataDir+"/c1_eth0.json.tmp", []byte("{"), 0o600)) // a killed ADD's
		plugintest.Run(t, w.pod, "ip", "link", "del", "eth0")
		must(t, w.p.Del(ctx, w.request(t, all)))
		if left := files(t, dataDir); left != "" {
			t.Errorf("interface gone: left %s", left)
		}
	})
}

// TestFailedAdd: a setting that the kernel refuses leaves nothing changed.
func TestFailedAdd(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		w.prev.IPs = w.prev.IPs[:1] // without IPv6, any MTU is the kernel's to judge
		before := w.state(t)
		for keys, want := range map[string]string{
			`"sysctl":{"net.core.somaxconn":"500","net.ipv4.conf.IFNAME.arp_filter":"many"}`: "arp_filter",
			`"sysctl":{"net.core.somaxconn":"500","net.ipv4.conf.none.arp_filter":"1"}`:      "conf/none/arp_filter",
			`"sysctl":{"net.core.somaxconn":"500"},"mtu":60,"mac":"` + mac + `"`:             "mtu 60",
		} {
			_, err := cni.Add(ctx, w.p, w.request(t, keys))
			wantError(t, keys, err, want)
			if diff := cmp.Diff(before, w.state(t)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", keys, diff)
			}
			if left := files(t, dataDir); left != "" {
				t.Errorf("%s: left %s", keys, left)
			}
		}
	})
}

func TestGC(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		dir := t.TempDir() + "/data"
		keys := fmt.Sprintf(`"mtu":1400,"dataDir":%q`, dir)
		var live cni.Attachment
		for _, id := range []string{"live", "dead", "other"} {
			r := w.request(t, keys)
			r.ContainerID = id
			switch id {
			case "live":
				live = r.Attachment
			case "other":
				r.Network = "other"
			}
			_, err := w.p.Add(ctx, r)
			must(t, err)
		}
		must(t, os.WriteFile(filepath.Join(dir, "theirs_eth0.json"), []byte(`{"mtu": 1500}`), 0o600))
		gc := w.request(t, keys)
		gc.Attachment = cni.Attachment{Network: "net"}
		must(t, w.p.GC(ctx, gc))
		if got := files(t, dir); got != "dead_eth0.json live_eth0.json other_eth0.json theirs_eth0.json" {
			t.Errorf("no list: %s", got)
		}
		gc.Valid = []cni.Attachment{live}
		must(t, w.p.GC(ctx, gc))
		if got := files(t, dir); got != "live_eth0.json other_eth0.json theirs_eth0.json" {
			t.Errorf("with a list: %s", got)
		}
		gc = w.request(t, "") // a folder that is not there
		gc.Valid = []cni.Attachment{}
		must(t, w.p.GC(ctx, gc))
	})
}

func TestInvalid(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		before := w.state(t)
		for _, tt := range []struct {
			keys, want string
			code       cni.Code
		}{
			{`"sysctl":{"net.core.somaxconn":"1","net.core.somaxconn":"2"}`, `"net.core.somaxconn": stands there twice`, cni.CodeDecoding},
			{`"sysctl":{"net.core.somaxconn":"1","net/core/somaxconn":"2"}`, `is the same as`, cni.CodeInvalidConfig},
			{`"sysctl":{"net.core.somaxconn":1}`, "sysctl", cni.CodeDecoding},
			{`"sysctl":{"kernel.hostname":"x"}`, "only those of the network", cni.CodeInvalidConfig},
			{`"sysctl":{"net/../kernel/hostname":"x"}`, `must not contain ".."`, cni.CodeInvalidConfig},
			{`"sysctl":{"net":"x"}`, "only those of the network", cni.CodeInvalidConfig},
			{`"args":{"cni":{"sysctl":{"vm.swappiness":"1"}}}`, "vm.swappiness", cni.CodeInvalidConfig},
			{`"mac":"02:00"`, "02:00", cni.CodeInvalidConfig},
			{`"mac":"01:00:00:00:00:00"`, "group address", cni.CodeInvalidConfig},
			{`"mtu":-1`, "mtu -1", cni.CodeInvalidConfig},
			{`"mtu":1279`, "would lose its IPv6 addresses", cni.CodeInvalidConfig},
			{`"txQLen":-1`, "txQLen -1", cni.CodeInvalidConfig},
			{`"txQLen":4294967296`, "txQLen 4294967296", cni.CodeInvalidConfig},
			{`"allmulti":"yes"`, "allmulti", cni.CodeDecoding},
			{`"dataDir":"x","mtu":1400`, "absolute path", cni.CodeInvalidConfig},
		} {
			_, err := w.p.Add(ctx, w.request(t, tt.keys))
			wantError(t, tt.keys, err, tt.want)
			if cni.CodeOf(err) != tt.code {
				t.Errorf("%s: code %d, want %d", tt.keys, cni.CodeOf(err), tt.code)
			}
		}
		r := w.request(t, all)
		r.Prev = nil
		_, err := w.p.Add(ctx, r)
		wantError(t, "ADD", err, "needs prevResult")
		wantError(t, "CHECK", w.p.Check(ctx, r), "needs prevResult")
		r = w.request(t, all)
		r.Args = cni.Args{{Key: "FOO", Value: "1"}}
		_, err = w.p.Add(ctx, r)
		wantError(t, "unknown argument", err, "FOO")
		must(t, w.p.Status(ctx, w.request(t, all)))
		wantError(t, "STATUS", w.p.Status(ctx, w.request(t, `"mtu":-1`)), "mtu -1")
		if diff := cmp.Diff(before, w.state(t)); diff != "" || files(t, dataDir) != "" {
			t.Errorf("touched (-want +got):\n%s%s", diff, files(t, dataDir))
		}
	})
}

func TestAllowlist(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		before := w.state(t)
		must(t, os.MkdirAll("/etc/cni/tuning", 0o755))
		list := func(text string) { must(t, os.WriteFile("/etc/cni/tuning/allowlist.conf", []byte(text), 0o644)) }
		list("\n  ^net\\.core\\.somaxconn$  \n^net.ipv4.conf.IFNAME.[a-z_]*$\n")
		for keys, ok := range map[string]bool{
			`"sysctl":{"net.core.somaxconn":"500"}`:                                    true,
			`"sysctl":{"net.ipv4.conf.IFNAME.arp_filter":"1"}`:                         true,
			`"sysctl":{"net/ipv4/conf/IFNAME/arp_filter":"1"}`:                         true,
			`"sysctl":{"net.core.somaxconn":"500","net.ipv4.conf.all.arp_filter":"1"}`: false,
			`"sysctl":{"net.ipv4.conf.eth0.arp_filter":"1"}`:                           false,
			`"args":{"cni":{"sysctl":{"net.ipv4.ip_forward":"1"}}}`:                    false,
			`"mtu":1400`: true,
		} {
			_, err := w.p.Add(ctx, w.request(t, keys))
			if (err == nil) != ok || !ok && !strings.Contains(err.Error(), "does not allow it") {
				t.Errorf("%s: %v", keys, err)
			}
			must(t, w.p.Del(ctx, w.request(t, keys)))
		}
		denied := tuning.Config{Sysctl: tuning.Sysctls{{Key: "net.ipv4.ip_forward", Value: "1"}}}
		wantError(t, "available", denied.Available(nil), "net.ipv4.ip_forward: /etc/cni/tuning/allowlist.conf does not allow it")
		denied.Sysctl[0].Key = "net.core.somaxconn"
		must(t, denied.Available(nil))
		list("(\n")
		_, err := w.p.Add(ctx, w.request(t, sysctls))
		wantError(t, "broken list", err, "allowlist.conf: error parsing regexp")
		if diff := cmp.Diff(before, w.state(t)); diff != "" {
			t.Errorf("touched (-want +got):\n%s", diff)
		}
	})
}
