package nft_test

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/nft"
)

func open(t testing.TB) *nft.Table {
	t.Helper()
	table, err := nft.Open("/run/seam/nft")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { table.Close() })
	return table
}

func owner(container string) nft.Owner {
	return nft.Owner{Tag: cni.Attachment{Network: "net", ContainerID: container, IfName: "eth0"}.Tag(), Plugin: "portmap"}
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func prefixes(list ...string) []netip.Prefix {
	var p []netip.Prefix
	for _, s := range list {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func run(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// golden compares what nft prints of a table with testdata/NAME.nft, which
// SEAM_GOLDEN=write go test writes.
func golden(t *testing.T, name string, table ...string) {
	t.Helper()
	got := run(t, append([]string{"nft", "list", "table"}, table...)...)
	file := filepath.Join("testdata", name+".nft")
	if os.Getenv("SEAM_GOLDEN") == "write" {
		must(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	must(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("nft list table (-want +got):\n%s", diff)
	}
}

var (
	webElements = []nft.Element{
		nft.Forward{Protocol: nft.TCP, HostPort: 8080, To: netip.MustParseAddrPort("10.1.0.2:80")},
		nft.Forward{Protocol: nft.UDP, HostIP: addr("192.0.2.1"), HostPort: 53, To: netip.MustParseAddrPort("10.1.0.2:5353")},
		nft.Forward{Protocol: nft.SCTP, HostPort: 132, To: netip.MustParseAddrPort("[fd00:1::2]:132")},
		nft.Forward{Protocol: nft.TCP, HostIP: addr("2001:db8::1"), HostPort: 8080, To: netip.MustParseAddrPort("[fd00:1::2]:80")},
		nft.Hairpin{To: addr("10.1.0.2"), Sources: prefixes("10.1.0.0/24", "127.0.0.0/8")},
		nft.Hairpin{To: addr("fd00:1::2"), Sources: prefixes("fd00:1::/64")},
	}
	masqElements = []nft.Element{
		nft.Masquerade{Source: addr("10.1.0.2"), Except: prefixes("10.1.0.0/24", "fd00:1::/64")},
		nft.Masquerade{Source: addr("fd00:1::2"), Except: prefixes("10.1.0.0/24", "fd00:1::/64")},
	}
	guard = nft.Guard{Link: "veth1234", MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}}
)

func TestTableText(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		table := open(t)
		must(t, table.Put(owner("web"), webElements...))
		o := owner("web")
		o.Plugin = "masquerade"
		must(t, table.Put(o, masqElements...))
		all := nft.Owner{Tag: owner("all").Tag, Plugin: "portmap"}
		must(t, table.Put(all,
			nft.Masquerade{Source: addr("10.9.0.2"), Except: prefixes("0.0.0.0/0", "192.0.2.7/32")},
			nft.Hairpin{To: addr("10.9.0.2"), Sources: prefixes("0.0.0.0/0")}))
		wall := nft.WallOwner("cni0", "firewall")
		must(t, table.Put(wall, nft.Wall{Link: "cni0"}))
		golden(t, "full", "inet", "seam")
		firewall := nft.Owner{Tag: owner("web").Tag, Plugin: "firewall"}
		must(t, table.Put(nft.Owner{Tag: owner("web").Tag, Plugin: "bridge"}, guard))
		must(t, table.Put(firewall, nft.Isolation{Link: "veth1234"}))
		golden(t, "guard", "bridge", "seam")
		text, err := table.Text()
		must(t, err)
		if diff := cmp.Diff(run(t, "nft", "list", "ruleset"), text); diff != "" {
			t.Errorf("Text (-nft +got):\n%s", diff)
		}

		must(t, table.Drop(wall, nil))
		for _, plugin := range []string{"portmap", "masquerade", "bridge", "firewall"} {
			must(t, table.Drop(nft.Owner{Tag: owner("web").Tag, Plugin: plugin}, nil))
		}
		must(t, table.Drop(all, nil))
		must(t, table.Drop(all, nil))
		golden(t, "empty", "inet", "seam")
		golden(t, "guard-empty", "bridge", "seam")
		if left, _ := os.ReadDir("/run/seam/nft"); len(left) > 0 {
			t.Errorf("records left: %v", left)
		}
	})
}
