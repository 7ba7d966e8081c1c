package docker

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
)

func prefixList(list ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, s := range list {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

func TestPinAddresses(t *testing.T) {
	tests := []struct {
		name      string
		plugins   string
		addresses []netip.Prefix
		want      string // the plugins
		err       string // part of it
	}{
		{"host-local", `{"type": "bridge", "ipam": {"type": "host-local", "subnet": "10.1.0.0/24", "routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.0.0.0/8", "gw": "10.1.0.9"}]}}, {"type": "portmap"}`,
			prefixList("10.1.0.7/24"),
			`{"type": "bridge", "ipam": {"type": "static", "addresses": [{"address": "10.1.0.7/24", "gateway": "10.1.0.1"}],
				"routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.0.0.0/8", "gw": "10.1.0.9"}]}}, {"type": "portmap"}`, ""},
		{"both families, and DNS", `{"type": "ptp", "ipam": {"type": "static", "addresses": [{"address": "9.9.9.9/32"}], "dns": {"nameservers": ["10.1.0.53"]}}}`,
			prefixList("10.1.0.7/24", "fd00:1::7/64"),
			`{"type": "ptp", "ipam": {"type": "static", "addresses": [{"address": "10.1.0.7/24", "gateway": "10.1.0.1"}, {"address": "fd00:1::7/64"}],
				"dns": {"nameservers": ["10.1.0.53"]}}}`, ""},
		{"addresses asked for in the file", `{"type": "bridge", "ipam": {"type": "static"}, "args": {"cni": {"ips": ["1.2.3.4/5"], "mac": "02:00:00:00:00:01"}, "x": 1}}`,
			prefixList("10.9.0.7/24"),
			`{"type": "bridge", "ipam": {"type": "static", "addresses": [{"address": "10.9.0.7/24"}]}, "args": {"cni": {"mac": "02:00:00:00:00:01"}, "x": 1}}`, ""},
		{"later in the chain", `{"type": "tuning", "n": 12345678901234567890}, {"type": "ipvlan", "ipam": {}}`, prefixList("10.1.0.7/24"),
			`{"type": "tuning", "n": 12345678901234567890}, {"type": "ipvlan", "ipam": {"type": "static", "addresses": [{"address": "10.1.0.7/24", "gateway": "10.1.0.1"}]}}`, ""},
		{"none", `{"type": "bridge"}, {"type": "dummy", "ipam": null}`, nil, "", `network net: no plugin has a section "ipam"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			n := parsed(t, `{"cniVersion": "1.0.0", "name": "net", "disableCheck": true, "plugins": [`+test.plugins+`]}`)
			n.File = "/etc/cni/net.d/net.conflist"
			got, err := pinAddresses(n, test.addresses, pools("fd00:1::/64", "10.1.0.0/24 10.1.0.1", "0.0.0.0/0"))
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("%v, want an error with %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := `{"cniVersion": "1.0.0", "name": "net", "disableCheck": true, "loadOnlyInlinedPlugins": true, "plugins": [` + test.want + `]}`
			if diff := cmp.Diff(decoded(t, want), decoded(t, string(got.Raw))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			consistent(t, n, got)
		})
	}
}

// consistent fails unless the changed network is what its Raw says, as a record of an
// attachment keeps Raw alone, and is otherwise the old one.
func consistent(t *testing.T, old, changed *seam.Network) {
	t.Helper()
	again := parsed(t, string(changed.Raw))
	again.File = old.File
	if diff := cmp.Diff(again, changed); diff != "" {
		t.Errorf("parsed again (-want +got):\n%s", diff)
	}
	if changed.Name != old.Name || changed.Version != old.Version || changed.DisableCheck != old.DisableCheck {
		t.Errorf("%+v, want what %+v has", changed, old)
	}
}

func TestPinLease(t *testing.T) {
	n := parsed(t, `{"name": "net", "plugins": [{"type": "macvlan", "ipam": {"type": "dhcp", "routes": [{"dst": "1.0.0.0/8"}]}}]}`)
	got, err := pinLease(n, &cni.Result{
		IPs:    []cni.IP{{Address: netip.MustParsePrefix("10.1.0.7/24"), Gateway: netip.MustParseAddr("10.1.0.1")}, {Address: netip.MustParsePrefix("fd00::7/64")}},
		Routes: []cni.Route{{Dst: everything4(), GW: netip.MustParseAddr("10.1.0.1"), Table: new(254)}},
		DNS:    cni.DNS{Domain: "example.org"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"name": "net", "loadOnlyInlinedPlugins": true, "plugins": [{"type": "macvlan", "ipam": {"type": "static",
		"addresses": [{"address": "10.1.0.7/24", "gateway": "10.1.0.1"}, {"address": "fd00::7/64"}],
		"routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1", "table": 254}], "dns": {"domain": "example.org"}}}]}`
	if diff := cmp.Diff(decoded(t, want), decoded(t, string(got.Raw))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestPinKeepsDropIns: plugins of the network's folder are in the list, once.
func TestPinKeepsDropIns(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "net"), 0o700); err != nil {
		t.Fatal(err)
	}
	write("10.conflist", `{"cniVersion": "1.1.0", "name": "net", "plugins": [{"type": "bridge", "ipam": {"type": "host-local"}}]}`)
	write("net/50.conf", `{"type": "tuning", "sysctl": {"a": "1"}, "capabilities": {"mac": true}}`)
	n, err := seam.Load(dir, "net")
	if err != nil {
		t.Fatal(err)
	}
	got, err := pinAddresses(n, prefixList("10.1.0.7/24"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"mac"}, got.Capabilities()); diff != "" || len(got.Plugins) != 2 {
		t.Errorf("%d plugins, capabilities (-want +got):\n%s", len(got.Plugins), diff)
	}
	consistent(t, n, got)
	again, err := pinAddresses(got, prefixList("10.1.0.8/24"), nil)
	if err != nil || len(again.Plugins) != 2 {
		t.Errorf("pinned again: %+v, %v", again, err)
	}
	write("net/60.conf", `{"type": "firewall"}`)
	if err := os.WriteFile(filepath.Join(dir, "pinned.conflist"), got.Raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err = seam.LoadFile(filepath.Join(dir, "pinned.conflist")); err != nil || len(n.Plugins) != 2 {
		t.Errorf("loaded from a file: %+v, %v", n, err)
	}
}

func TestContains(t *testing.T) {
	tests := []struct {
		name, ipam string
		in, out    []string
	}{
		{"old form", `{"type": "host-local", "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.10", "rangeEnd": "10.1.0.19", "gateway": "10.1.0.15"}`,
			[]string{"10.1.0.10", "10.1.0.19"}, []string{"10.1.0.9", "10.1.0.20", "10.1.0.15", "10.2.0.1"}},
		{"whole subnet", `{"type": "host-local", "subnet": "10.1.0.0/24"}`, []string{"10.1.0.2", "10.1.0.254"}, []string{"10.1.0.0", "10.1.0.1", "10.1.0.255"}},
		{"sets", `{"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}, {"subnet": "10.2.0.0/24"}], [{"subnet": "fd00::/64"}]]}`,
			[]string{"10.1.0.2", "10.2.0.2", "fd00::2"}, []string{"10.3.0.2", "fd00::1", "fd01::2"}},
		{"both forms", `{"type": "host-local", "subnet": "10.1.0.0/24", "ranges": [[{"subnet": "10.2.0.0/24"}]]}`, []string{"10.1.0.2", "10.2.0.2"}, nil},
		{"another plugin", `{"type": "static", "subnet": "10.1.0.0/24"}`, nil, []string{"10.1.0.2"}},
		{"broken", `{"type": "host-local", "subnet": "10.1.0.0"}`, nil, []string{"10.1.0.2"}},
		{"a broken set", `{"type": "host-local", "ranges": [[{"subnet": "10.1.0.1/24"}], [], [{"subnet": "10.2.0.0/24"}]]}`, []string{"10.2.0.2"}, []string{"10.1.0.2"}},
		{"none", `{}`, nil, []string{"10.1.0.2"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			n := parsed(t, `{"name": "net", "plugins": [{"type": "tuning"}, {"type": "bridge", "ipam": `+test.ipam+`}]}`)
			for want, addrs := range map[bool][]string{true: test.in, false: test.out} {
				for _, a := range addrs {
					if got := contains(n, netip.MustParseAddr(a)); got != want {
						t.Errorf("%s: %t, want %t", a, got, want)
					}
				}
			}
		})
	}
}

// TestAsking: what CNI_ARGS have no room for goes as a capability.
func TestAsking(t *testing.T) {
	both := prefixList("10.1.0.7/24", "fd00::7/64")
	wishes := seam.Wishes{IPs: []string{"10.1.0.7", "fd00::7"}}
	for name, test := range map[string]struct {
		plugin    string
		ips       []netip.Prefix
		unchanged bool
	}{
		"one":             {`{"type": "bridge", "ipam": {"type": "host-local"}}`, both[:1], true},
		"two":             {`{"type": "bridge", "ipam": {"type": "host-local"}}`, both, false},
		"two, with mac":   {`{"type": "bridge", "ipam": {"type": "host-local"}, "capabilities": {"mac": true}}`, both, false},
		"taken already":   {`{"type": "bridge", "ipam": {"type": "host-local"}, "capabilities": {"ips": true}}`, both, true},
		"taken by a flag": {`{"type": "bridge", "ipam": {"type": "host-local"}, "capabilities": {"ips": false}}`, both, false},
	} {
		t.Run(name, func(t *testing.T) {
			n := parsed(t, `{"name": "net", "plugins": [`+test.plugin+`]}`)
			got, err := asking(n, test.ips)
			if err != nil || (got == n) != test.unchanged {
				t.Fatalf("%+v, %v", got, err)
			}
			if len(test.ips) < 2 {
				return
			}
			args, caps, err := wishes.Express(got)
			if diff := cmp.Diff(`["10.1.0.7","fd00::7"]`, string(caps["ips"])); diff != "" || err != nil || len(args) > 0 {
				t.Errorf("args %v, %v; ips (-want +got):\n%s", args, err, diff)
			}
			consistent(t, n, got)
		})
	}
}
