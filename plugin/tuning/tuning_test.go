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

var (
	ctx  = context.Background()
	must = plugintest.Must
)

const (
	interfaceConf = `{"cniVersion":"1.1.0","name":"net","type":"ptp","ipam":{"type":"static","addresses":[{"address":"10.1.0.5/24"},{"address":"fd00:1::5/64"}]}}`

	mac = "02:00:00:00:00:aa"
	all = `"mac":"` + mac + `","mtu":1400,"promisc":true,"allmulti":true,"txQLen":77`

	sysctls = `"sysctl":{"net.ipv4.conf.IFNAME.arp_filter":"1","net/core/somaxconn":"500","net.ipv4.ip_local_port_range":"2000 3000"}`
	dataDir = "/run/cni/tuning"
)

// newWorld is a host with a pod that ptp attached.
func newWorld(t *testing.T) *plugintest.Fixture {
	t.Helper()
	h := plugintest.Host(t)
	w := plugintest.New(t, tuning.New(h), cni.Registry{"static": static.New()})
	made := w.Request(interfaceConf)
	w.Attach(ptp.New(h), made)
	w.Prev = made.Prev
	return w
}

func conf(keys string) string { return plugintest.Conf("tuning", keys) }

// state is all that the plugin may change.
func state(w *plugintest.Fixture) string {
	w.Helper()
	return w.IP("-o link show eth0") + plugintest.Run(w, w.Pod, "sysctl", "net.ipv4.conf.eth0.arp_filter", "net.core.somaxconn", "net.ipv4.ip_local_port_range")
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
		before := state(w)
		r := w.Request(conf(all + "," + sysctls))
		result, err := w.Add(ctx, r)
		must(t, err)
		if got := result.Interfaces[1]; got.MAC.String() != mac || got.Name != "eth0" {
			t.Errorf("result: %+v", result.Interfaces)
		}
		if got := result.Interfaces[0]; got.MAC.String() != w.Prev.Interfaces[0].MAC.String() {
			t.Errorf("the host's end: %+v", got)
		}
		got := state(w)
		for _, want := range []string{
			mac, "mtu 1400", "PROMISC", "ALLMULTI", "qlen 77",
			"eth0.arp_filter = 1", "somaxconn = 500", "port_range = 2000\t3000",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("want %s in %s", want, got)
			}
		}
		r.Prev = result
		must(t, w.Check(ctx, r))
		for range 2 {
			must(t, w.Del(ctx, r))
			if diff := cmp.Diff(before, state(w)); diff != "" {
				t.Errorf("DEL (-want +got):\n%s", diff)
			}
		}
		if left := files(t, dataDir); left != "" {
			t.Errorf("left: %s", left)
		}
		// Nothing asked for, nothing written down.
		result, err = w.Add(ctx, w.Request(conf("")))
		must(t, err)
		must(t, w.Check(ctx, w.Request(conf(""))))
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
			r := w.Request(conf(tt.keys))
			args, err := cni.ParseArgs(tt.args)
			must(t, err)
			r.Args = args
			r.Prev, err = w.Add(ctx, r)
			must(t, err)
			if got := state(w); !strings.Contains(got, tt.want) {
				t.Errorf("%s: want %q in %s", tt.name, tt.want, got)
			}
			must(t, w.Check(ctx, r))
			must(t, w.Del(ctx, r))
		}
	})
}

// TestDottedName: the name of a VLAN's interface has a dot.
func TestDottedName(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		w.IP("link set eth0 down")
		w.IP("link set eth0 name eth0.5")
		for _, key := range []string{"net.ipv4.conf.IFNAME.arp_filter", "net/ipv4/conf/eth0.5/arp_filter"} {
			r := w.Request(conf(fmt.Sprintf(`"sysctl":{%q:"1"}`, key)))
			r.IfName = "eth0.5"
			_, err := w.Add(ctx, r)
			must(t, err)
			if got := plugintest.Run(t, w.Pod, "cat", "/proc/sys/net/ipv4/conf/eth0.5/arp_filter"); got != "1\n" {
				t.Errorf("%s: %s", key, got)
			}
			must(t, w.Del(ctx, r))
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
			r := w.Request(conf(all + "," + sysctls))
			_, err := w.Add(ctx, r)
			must(t, err)
			must(t, w.Check(ctx, r))
			args := strings.Fields(breaks)
			plugintest.Run(t, w.Pod, args[0], args[1:]...)
			w.Finds(r, want)
			must(t, w.Del(ctx, r))
		}
		w.IP("link set eth0 promisc on allmulticast on")
		w.Finds(w.Request(conf(`"mtu":1400,"allmulti":false`)), "promisc true, not false", "allmulti true, not false", "mtu 1500")
		w.IP("link del eth0")
		w.Finds(w.Request(conf(all)), "link eth0")
	})
}

// TestDel: what was written down goes, whatever has become of the pod, and others' stays.
func TestDel(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		before := state(w)
		add := func(keys string) {
			t.Helper()
			_, err := w.Add(ctx, w.Request(conf(keys)))
			must(t, err)
		}
		add(all + "," + sysctls)
		r := w.Request(conf(`"mtu":"broken","sysctl":5`))
		r.Prev = nil
		must(t, w.Del(ctx, r))
		if diff := cmp.Diff(before, state(w)); diff != "" {
			t.Errorf("invalid configuration (-want +got):\n%s", diff)
		}

		add(all)
		stranger := w.Request(conf(""))
		stranger.Network = "other" // was refused: the interface is this network's
		must(t, w.Del(ctx, stranger))
		must(t, w.Check(ctx, w.Request(conf(all))))
		add(`"mtu":1350`) // a second one of the chain: the first one's values are the original ones
		must(t, w.Del(ctx, w.Request(conf(`"mtu":1350`))))
		must(t, w.Del(ctx, w.Request(conf(all))))
		if diff := cmp.Diff(before, state(w)); diff != "" {
			t.Errorf("two in a chain (-want +got):\n%s", diff)
		}

		for name, path := range map[string]string{"no namespace": "", "namespace gone": "/run/netns/none"} {
			add(all)
			r := w.Request(conf(all))
			r.NetNS = path
			must(t, w.Del(ctx, r))
			must(t, w.Del(ctx, r))
			if left := files(t, dataDir); left != "" {
				t.Errorf("%s: left %s", name, left)
			}
			w.IP("link set eth0 mtu 1500 promisc off")
		}
		add(all)
		must(t, os.WriteFile(dataDir+"/c1_eth0.json.tmp", []byte("{"), 0o600)) // a killed ADD's
		w.IP("link del eth0")
		must(t, w.Del(ctx, w.Request(conf(all))))
		if left := files(t, dataDir); left != "" {
			t.Errorf("interface gone: left %s", left)
		}
	})
}

// TestBackupThatCannotBeReadNow: it is neither removed nor written over.
func TestBackupThatCannotBeReadNow(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		before := state(w)
		_, err := w.Add(ctx, w.Request(conf(all)))
		must(t, err)
		const file, aside = dataDir + "/c1_eth0.json", "/run/aside"
		must(t, os.Rename(file, aside))
		must(t, os.Symlink(file, file)) // a loop, which nobody can read
		_, err = w.Add(ctx, w.Request(conf(`"mtu":1350`)))
		for what, err := range map[string]error{"ADD": err, "DEL": w.Del(ctx, w.Request(conf(all)))} {
			if err == nil || !strings.Contains(err.Error(), file) {
				t.Errorf("%s: %v, want an error that names %s", what, err, file)
			}
		}
		if target, err := os.Readlink(file); err != nil || target != file {
			t.Errorf("the backup was removed or replaced: %q, %v", target, err)
		}
		must(t, os.Rename(aside, file))
		must(t, w.Del(ctx, w.Request(conf(all))))
		if diff := cmp.Diff(before, state(w)); diff != "" {
			t.Errorf("restored (-want +got):\n%s", diff)
		}
	})
}

// TestFailedAdd: a setting that the kernel refuses leaves nothing changed.
func TestFailedAdd(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		w.Prev.IPs = w.Prev.IPs[:1] // without IPv6, any MTU is the kernel's to judge
		before := state(w)
		for keys, want := range map[string]string{
			`"sysctl":{"net.core.somaxconn":"500","net.ipv4.conf.IFNAME.arp_filter":"many"}`: "arp_filter",
			`"sysctl":{"net.core.somaxconn":"500","net.ipv4.conf.none.arp_filter":"1"}`:      "conf/none/arp_filter",
			`"sysctl":{"net.core.somaxconn":"500"},"mtu":60,"mac":"` + mac + `"`:             "mtu 60",
		} {
			_, err := cni.Add(ctx, w, w.Request(conf(keys)))
			plugintest.WantError(t, keys, err, cni.CodeInternal, want)
			if diff := cmp.Diff(before, state(w)); diff != "" {
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
			r := w.Request(conf(keys))
			r.ContainerID = id
			switch id {
			case "live":
				live = r.Attachment
			case "other":
				r.Network = "other"
			}
			_, err := w.Add(ctx, r)
			must(t, err)
		}
		must(t, os.WriteFile(filepath.Join(dir, "theirs_eth0.json"), []byte(`{"mtu": 1500}`), 0o600))
		gc := w.Request(conf(keys))
		gc.Attachment = cni.Attachment{Network: "net"}
		must(t, w.GC(ctx, gc))
		if got := files(t, dir); got != "dead_eth0.json live_eth0.json other_eth0.json theirs_eth0.json" {
			t.Errorf("no list: %s", got)
		}
		gc.Valid = []cni.Attachment{live}
		must(t, w.GC(ctx, gc))
		if got := files(t, dir); got != "live_eth0.json other_eth0.json theirs_eth0.json" {
			t.Errorf("with a list: %s", got)
		}
		gc = w.Request(conf("")) // a folder that is not there
		gc.Valid = []cni.Attachment{}
		must(t, w.GC(ctx, gc))
	})
}

func TestInvalid(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		before := state(w)
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
			_, err := w.Add(ctx, w.Request(conf(tt.keys)))
			plugintest.WantError(t, tt.keys, err, tt.code, tt.want)
		}
		r := w.Request(conf(all))
		r.Prev = nil
		_, err := w.Add(ctx, r)
		plugintest.WantError(t, "ADD", err, cni.CodeInvalidConfig, "needs prevResult")
		plugintest.WantError(t, "CHECK", w.Check(ctx, r), cni.CodeInvalidConfig, "needs prevResult")
		r = w.Request(conf(all))
		r.Args = cni.Args{{Key: "FOO", Value: "1"}}
		_, err = w.Add(ctx, r)
		plugintest.WantError(t, "unknown argument", err, cni.CodeInvalidEnvironment, "FOO")
		must(t, w.Status(ctx, w.Request(conf(all))))
		plugintest.WantError(t, "STATUS", w.Status(ctx, w.Request(conf(`"mtu":-1`))), cni.CodeInvalidConfig, "mtu -1")
		if diff := cmp.Diff(before, state(w)); diff != "" || files(t, dataDir) != "" {
			t.Errorf("touched (-want +got):\n%s%s", diff, files(t, dataDir))
		}
	})
}

func TestAllowlist(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		w := newWorld(t)
		before := state(w)
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
			_, err := w.Add(ctx, w.Request(conf(keys)))
			if (err == nil) != ok || !ok && !strings.Contains(err.Error(), "does not allow it") {
				t.Errorf("%s: %v", keys, err)
			}
			must(t, w.Del(ctx, w.Request(conf(keys))))
		}
		denied := tuning.Config{Sysctl: tuning.Sysctls{{Key: "net.ipv4.ip_forward", Value: "1"}}}
		plugintest.WantError(t, "available", denied.Available(nil), cni.CodeInvalidConfig, "net.ipv4.ip_forward: /etc/cni/tuning/allowlist.conf does not allow it")
		denied.Sysctl[0].Key = "net.core.somaxconn"
		must(t, denied.Available(nil))
		list("(\n")
		_, err := w.Add(ctx, w.Request(conf(sysctls)))
		plugintest.WantError(t, "broken list", err, cni.CodeInternal, "allowlist.conf: error parsing regexp")
		if diff := cmp.Diff(before, state(w)); diff != "" {
			t.Errorf("touched (-want +got):\n%s", diff)
		}
	})
}
