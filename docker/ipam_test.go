package docker

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/docker/ahead"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/all"
)

// ipamNetworks are in the folder of networks of each test's host.
var ipamNetworks = map[string]string{
	"prod":  `"ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/16", "rangeEnd": "10.1.255.200", "gateway": "10.1.0.254"}], [{"subnet": "fd00:1::/64"}]]}`,
	"small": `"ipam": {"type": "host-local", "ranges": [[{"subnet": "10.2.0.0/29"}]]}`,
	"fixed": `"ipam": {"type": "static", "addresses": [{"address": "10.3.0.5/24", "gateway": "10.3.0.1"}, {"address": "10.3.0.6/24"}]}`,
	"far":   `"ipam": {"type": "dhcp"}`,
	"bare":  `"mtu": 1400`,
	"other": `"ipam": {"type": "whereabouts", "range": "10.5.0.0/24"}`,
}

const ipamConf = "/etc/cni/net.d"

func writeIPAMNetworks(t testing.TB) {
	t.Helper()
	if err := os.MkdirAll(ipamConf, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, keys := range ipamNetworks {
		list := fmt.Sprintf(`{"cniVersion": "1.1.0", "name": %q, "plugins": [{"type": "bridge", %s}]}`, name, keys)
		if err := os.WriteFile(filepath.Join(ipamConf, name+".conflist"), []byte(list), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// testIPAM returns an IPAM in the folders of the test's host; called again, what a
// driver would be that is started again.
func testIPAM(t testing.TB, wrap ...func(cni.Registry)) *IPAM {
	t.Helper()
	host := plugin.NewHost(plugin.Dirs{Leases: "/var/lib/cni/networks", State: "/run/state"})
	t.Cleanup(func() { host.Close() })
	registry := all.Registry(host)
	for _, w := range wrap {
		w(registry)
	}
	rt := &seam.Runtime{Plugins: wire.Path{Builtins: registry}, CacheDir: "/run/cache"}
	return &IPAM{
		Name:     "seam",
		Desk:     &ahead.Desk{Runtime: rt, NetNS: "/run/driver/empty"},
		ConfDir:  ipamConf,
		StateDir: "/run/lib/docker",
		Routes:   func() ([]netip.Prefix, error) { return []netip.Prefix{netip.MustParsePrefix("10.210.1.0/25")}, nil },
	}
}

func ofNetwork(name string) map[string]string { return map[string]string{ipamNetwork: name} }

// mustPool requests a pool.
func mustPool(t testing.TB, p *IPAM, r cnm.PoolRequest) *cnm.Pool {
	t.Helper()
	got, err := p.RequestPool(t.Context(), &r)
	if err != nil {
		t.Fatalf("request pool %+v: %v", r, err)
	}
	return got
}

// mustAddress requests an address; "" is any.
func mustAddress(t testing.TB, p *IPAM, id cnm.PoolID, a string) string {
	t.Helper()
	got, err := p.RequestAddress(t.Context(), &cnm.AddressRequest{Pool: id, Address: addrOf(a)})
	if err != nil {
		t.Fatalf("request address %q of %s: %v", a, id, err)
	}
	return got.String()
}

func addrOf(s string) netip.Addr {
	if s == "" {
		return netip.Addr{}
	}
	return netip.MustParseAddr(s)
}

func prefixOf(s string) netip.Prefix {
	if s == "" {
		return netip.Prefix{}
	}
	return netip.MustParsePrefix(s)
}

func mustRelease(t testing.TB, p *IPAM, id cnm.PoolID, a string) {
	t.Helper()
	if err := p.ReleaseAddress(t.Context(), id, addrOf(a)); err != nil {
		t.Errorf("release %s of %s: %v", a, id, err)
	}
}

func mustReleasePool(t testing.TB, p *IPAM, id cnm.PoolID) {
	t.Helper()
	if err := p.ReleasePool(t.Context(), id); err != nil {
		t.Errorf("release %s: %v", id, err)
	}
}

func wantError(t testing.TB, what string, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: error %v, want one with %q", what, err, want)
	}
}

// leased returns what is leased of a book, as host-local wrote it down.
func leased(t testing.TB, dir, book string) []string {
	t.Helper()
	entries, _ := os.ReadDir(filepath.Join(dir, book))
	var leased []string
	for _, e := range entries {
		if _, err := netip.ParseAddr(e.Name()); err == nil {
			leased = append(leased, e.Name())
		}
	}
	return leased
}

func podLeases(t testing.TB, book string) []string { return leased(t, "/var/lib/cni/networks", book) }

// wantNothing fails the test if anything is left that was handed out.
func wantNothing(t testing.TB, p *IPAM) {
	t.Helper()
	held, err := p.Held()
	pools, poolErr := p.HeldPools()
	if len(held) > 0 || len(pools) > 0 || err != nil || poolErr != nil {
		t.Errorf("left: addresses %v, pools %v, %v, %v", held, pools, err, poolErr)
	}
	records, err := p.Desk.Runtime.Attachments()
	if len(records) > 0 || err != nil {
		t.Errorf("left: records %v, %v", records, err)
	}
	for _, pattern := range []string{"pending/*", "leases/*/*", "leases/.seam/*"} {
		if left, _ := filepath.Glob(p.file(pattern)); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
}

func TestIPAMSpaces(t *testing.T) {
	a, b := &IPAM{Name: "seam"}, &IPAM{Name: "seam2"}
	c, err := a.IPAMCapabilities(t.Context())
	if diff := cmp.Diff(cnm.IPAMCapabilities{LocalSpace: "seam.local", GlobalSpace: "seam.local"}, c); diff != "" || err != nil {
		t.Errorf("error %v, capabilities (-want +got):\n%s", err, diff)
	}
	if !a.Owns(c.LocalSpace) || b.Owns(c.LocalSpace) || a.Owns("LocalDefault") || a.Owns("null") {
		t.Error("address spaces are not told apart")
	}
}
