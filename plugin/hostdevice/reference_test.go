package hostdevice_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/plugintest"
)

// reference executes the reference plugin.
func reference(t *testing.T, verb string, r *cni.Request) string {
	t.Helper()
	dir := os.Getenv("SEAM_REFERENCE_PLUGINS")
	if dir == "" {
		t.Skip("needs the reference plugins: set SEAM_REFERENCE_PLUGINS to their folder, as make test does")
	}
	cmd := exec.Command(filepath.Join(dir, "host-device"))
	cmd.Env = append(os.Environ(), "CNI_COMMAND="+verb, "CNI_CONTAINERID="+r.ContainerID, "CNI_NETNS="+r.NetNS, "CNI_IFNAME="+r.IfName, "CNI_PATH="+dir)
	cmd.Stdin = strings.NewReader(string(r.Config.JSON))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("reference %s: %v\n%s", verb, err, out)
	}
	return string(out)
}

// TestBesideReference: one result and one state, and each takes back what the other lent.
func TestBesideReference(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		before := f.home()
		inside := func() string {
			var kept []string
			for line := range strings.Lines(plugintest.Run(t, f.pod, "ip", "-d", "addr", "show", "eth0") +
				plugintest.Run(t, f.pod, "ip", "-d", "link", "show", "eth0") + plugintest.Run(t, f.pod, "ip", "route")) {
				if !strings.Contains(line, "altname") && !strings.Contains(line, "fe80") && !strings.Contains(line, "valid_lft") {
					kept = append(kept, line)
				}
			}
			return strings.Join(kept, "")
		}
		r, result := f.add(`"device":"ens5"` + ipam)
		ours := inside()
		reference(t, "DEL", r)
		// It leaves the device down and without what it had; our own DEL ends the loan.
		f.del(r)
		if got := plugintest.Run(t, nil, "ip", "link", "show", "ens5"); strings.Contains(got, "alias") || strings.Contains(got, "altname") {
			t.Errorf("after the reference's DEL: %s", got)
		}
		var theirs struct {
			Interfaces []struct{ Name, Mac, Sandbox string }
			IPs        []struct{ Address string }
		}
		if err := json.Unmarshal([]byte(reference(t, "ADD", r)), &theirs); err != nil {
			t.Fatal(err)
		}
		i := result.Interfaces[0]
		if len(theirs.Interfaces) != 1 || theirs.Interfaces[0].Name != i.Name || theirs.Interfaces[0].Mac != i.MAC.String() ||
			theirs.Interfaces[0].Sandbox != i.Sandbox || theirs.IPs[0].Address != result.IPs[0].Address.String() {
			t.Errorf("the reference's result: %+v, ours: %+v", theirs, result)
		}
		if diff := cmp.Diff(inside(), ours); diff != "" {
			t.Errorf("pod (-reference +ours):\n%s", diff)
		}
		r.Prev = result
		if err := f.plugin.Check(context.Background(), r); err != nil {
			t.Errorf("check of what the reference lent: %v", err)
		}
		for range 2 {
			f.del(r)
		}
		for _, args := range []string{"alias uplink", "up"} {
			plugintest.Run(t, nil, "ip", append([]string{"link", "set", "ens5"}, strings.Fields(args)...)...)
		}
		for _, address := range []string{"198.51.100.5/24", "2001:db8::5/64 nodad"} {
			plugintest.Run(t, nil, "ip", append([]string{"addr", "add", "dev", "ens5"}, strings.Fields(address)...)...)
		}
		f.same("the reference's ADD, our DEL", before)
	})
}
