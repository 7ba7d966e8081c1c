package nft_test

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/nft"
)

func TestMirror(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		dirs := []string{filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")}
		from, err := nft.Open(dirs[0])
		must(t, err)
		defer from.Close()
		run(t, "iptables", "-P", "FORWARD", "DROP")
		run(t, "iptables", "-N", "CNI-ADMIN")
		owner := nft.Owner{Tag: "net/c1/eth0", Plugin: "bridge"}
		elements := []nft.Element{
			nft.Masquerade{Source: netip.MustParseAddr("10.1.0.2"), Except: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24")}},
			nft.Isolation{Link: "port0"},
		}
		must(t, from.Put(owner, elements...))
		must(t, from.AdmitForward("cni0"))

		like := netnstest.NewPod(t, "like")
		must(t, os.CopyFS(dirs[1], os.DirFS(dirs[0])))
		var to *nft.Table
		must(t, like.NS.Do(func() (err error) {
			to, err = nft.Open(dirs[1])
			return err
		}))
		defer to.Close()
		must(t, to.Mirror(from))
		want, err := from.Text()
		must(t, err)
		got, err := to.Text()
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Seam's tables (-host +mirror):\n%s", diff)
		}
		must(t, to.Check(owner, elements...))
		must(t, to.CheckForward("cni0"))
		if err := to.CheckForward("cni1"); err == nil {
			t.Error("FORWARD of the mirror drops nothing")
		}
		there, err := to.InIPTables("CNI-ADMIN")
		if must(t, err); !there {
			t.Error("a chain of iptables is not in the mirror")
		}
		var inside string
		must(t, like.NS.Do(func() error {
			out, err := exec.Command("iptables", "-S", "SEAM-cni0").CombinedOutput()
			inside = string(out)
			return err
		}))
		if diff := cmp.Diff(run(t, "iptables", "-S", "SEAM-cni0"), inside); diff != "" {
			t.Errorf("chain SEAM-cni0 (-host +mirror):\n%s", diff)
		}
	})
}
