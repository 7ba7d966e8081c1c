package ahead

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/all"
	"github.com/seamnet/seam/plugin/plugintest"
)

const (
	leases    = "/var/lib/cni/networks" // also of what is executed
	hostRange = `{"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]]}`
)

// newDesk returns a desk in the folders of the test's host; what it is to execute lies
// in bin, empty: nothing.
func newDesk(t testing.TB, bin string) *Desk {
	t.Helper()
	host := plugin.NewHost(plugin.Dirs{Leases: leases, State: "/run/state"})
	t.Cleanup(func() { host.Close() })
	finder := wire.Path{Builtins: all.Registry(host)}
	if bin != "" {
		finder.Dirs = []string{bin}
	}
	return &Desk{
		Runtime: &seam.Runtime{Plugins: finder, CacheDir: "/run/cache"},
		NetNS:   "/run/driver/empty",
	}
}

// executed returns a folder with the program under the names of plugins.
func executed(t testing.TB) string {
	t.Helper()
	program, dir := plugintest.Program(t), t.TempDir()
	for _, name := range []string{"host-local", "bridge"} {
		if err := os.Symlink(program, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// allWays runs the test with plugins in process, executed, and with the reference's, if
// there are these, each time on a host that nothing is leased on.
func allWays(t *testing.T, test func(t *testing.T, d *Desk)) {
	ways := map[string]string{"in process": "", "executed": executed(t)}
	if dir := os.Getenv("SEAM_REFERENCE_PLUGINS"); dir != "" {
		ways["reference"] = dir
	}
	for name, bin := range ways {
		t.Run(name, func(t *testing.T) {
			for _, dir := range []string{leases, "/run/cache"} {
				if err := os.RemoveAll(dir); err != nil {
					t.Fatal(err)
				}
			}
			test(t, newDesk(t, bin))
		})
	}
}

func take(t testing.TB, d *Desk, n *seam.Network, id string, want Request) string {
	t.Helper()
	result, err := d.Take(t.Context(), n, id, want)
	if err != nil {
		t.Fatalf("take %s: %v", id, err)
	}
	if len(result.Interfaces) > 0 {
		t.Errorf("take %s: interfaces %v", id, result.Interfaces)
	}
	return addressesOf(result)
}

func addressesOf(r *cni.Result) string {
	var all []string
	for _, ip := range r.IPs {
		all = append(all, ip.Address.String())
	}
	return strings.Join(all, " ")
}

// held returns the addresses that are leased, of the network net.
func held(t testing.TB) string {
	t.Helper()
	files, err := filepath.Glob(leases + "/net/*[0-9a-f]")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range files {
		if _, err := netip.ParseAddr(filepath.Base(f)); err == nil {
			all = append(all, filepath.Base(f))
		}
	}
	return strings.Join(all, " ")
}

func TestTakeAndFree(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		allWays(t, takeAndFree)
	})
}

func takeAndFree(t *testing.T, d *Desk) {
	n := network(t, hostRange)
	pod := netnstest.NewPod(t, "c1")
	c1 := seam.Container{ID: "c1", IfName: "eth0", NetNS: pod.Path, Name: "default/web"}
	result, err := d.Runtime.Attach(t.Context(), n, c1)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join([]string{
		addressesOf(result),
		take(t, d, n, "any", Request{}),
		take(t, d, n, "one", Request{Addresses: []netip.Addr{netip.MustParseAddr("10.1.0.77")}}),
		take(t, d, n, "v6", Request{Subnet: netip.MustParsePrefix("fd00:1::/64")}),
		take(t, d, n, "ranged", Request{Subnet: netip.MustParsePrefix("10.1.0.0/24"), Range: netip.MustParsePrefix("10.1.0.128/25")}),
	}, "\n")
	want := "10.1.0.2/24 fd00:1::2/64\n10.1.0.3/24 fd00:1::3/64\n10.1.0.77/24 fd00:1::4/64\nfd00:1::5/64\n10.1.0.128/24"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	if _, err := d.Take(t.Context(), n, "any", Request{}); cni.CodeOf(err) != cni.CodeExists {
		t.Errorf("the same again: %v, want an error with CodeExists", err)
	}
	_, err = d.Take(t.Context(), n, "pods", Request{Addresses: []netip.Addr{netip.MustParseAddr("10.1.0.2")}})
	if err == nil || !strings.Contains(err.Error(), "address 10.1.0.2 of network net is in use by default/web (container c1)") {
		t.Errorf("a pod's address: %v, want an error that says whose it is", err)
	}
	for _, id := range []string{"any", "one", "v6", "ranged", "pods", "never was"} {
		if err := d.Free(t.Context(), n.Name, id); err != nil {
			t.Errorf("free %s: %v", id, err)
		}
	}
	if err := d.Runtime.Detach(t.Context(), n, c1); err != nil {
		t.Error(err)
	}
	if got := held(t); got != "" {
		t.Errorf("still leased: %s", got)
	}
}

// Every version of the specification has a form for a result without interfaces.
func TestVersions(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		allWays(t, func(t *testing.T, d *Desk) {
			for _, version := range wire.SupportedVersions() {
				n := network(t, hostRange)
				n.Version = version
				if got, want := take(t, d, n, "c", Request{}), "10.1.0."; !strings.HasPrefix(got, want) {
					t.Errorf("version %s: address %s", version, got)
				}
				alone, err := d.Runtime.Attached(attachment("net", "c"))
				if err != nil || alone == nil || alone.Version != version || addressesOf(alone.Result) == "" {
					t.Errorf("version %s: record %+v, %v", version, alone, err)
				}
				if err := d.Free(t.Context(), "net", "c"); err != nil {
					t.Errorf("version %s: %v", version, err)
				}
			}
		})
	})
}

// What is reserved is in use to whoever collects the network, until the namespace of the
// reservations is gone, as after a reboot.
func TestCollect(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		allWays(t, collect)
	})
}

func collect(t *testing.T, d *Desk) {
	n := network(t, hostRange)
	take(t, d, n, "a", Request{})
	take(t, d, n, "b", Request{})
	before := held(t)
	if err := d.Runtime.CollectDead(t.Context(), n); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(before, held(t)); diff != "" {
		t.Errorf("collected (-before +after):\n%s", diff)
	}
	if err := netns.Remove(d.NetNS); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.NetNS, nil, 0o444); err != nil { // as a reboot leaves it on a disk
		t.Fatal(err)
	}
	if holds, err := d.Holds("net", "a"); holds || err != nil {
		t.Errorf("holds without the namespace: %v, %v", holds, err)
	}
	got := take(t, d, n, "a", Request{Addresses: []netip.Addr{netip.MustParseAddr(strings.Fields(before)[0])}})
	if want := strings.Fields(before)[0] + "/24"; !strings.HasPrefix(got, want) {
		t.Errorf("taken again: %s, want %s", got, want)
	}
	if err := d.Runtime.CollectDead(t.Context(), n); err != nil {
		t.Error(err)
	}
	if got := len(strings.Fields(held(t))); got != 2 {
		t.Errorf("%d addresses are leased, want those of a: %s", got, held(t))
	}
	if err := d.Runtime.Collect(t.Context(), n, []cni.Attachment{}); err != nil {
		t.Error(err)
	}
	if got := held(t); got != "" {
		t.Errorf("still leased: %s", got)
	}
}

// A foreign is an IPAM plugin whose configuration nobody here understands.
type foreign struct {
	cni.Plugin
	asked *[]string
}

func (f foreign) note(verb string, r *cni.Request) {
	*f.asked = append(*f.asked, fmt.Sprintf("%s %s/%s in %q, %s: %s", verb, r.ContainerID, r.IfName, r.NetNS, r.Args, r.Config.JSON))
}

func (f foreign) Add(_ context.Context, r *cni.Request) (*cni.Result, error) {
	f.note("ADD", r)
	return &cni.Result{IPs: []cni.IP{{Address: netip.MustParsePrefix("10.5.0.9/24")}}}, nil
}

func (f foreign) Del(_ context.Context, r *cni.Request) error {
	f.note("DEL", r)
	return nil
}

// A plugin that is not understood gets what its interface plugin would hand it.
func TestForeign(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		d, asked := newDesk(t, ""), []string(nil)
		d.Runtime.Plugins.(wire.Path).Builtins["whereabouts"] = foreign{asked: &asked}
		n := network(t, `{"type": "whereabouts", "range": "10.5.0.0/24"}`)
		if got := take(t, d, n, "a", Request{Addresses: []netip.Addr{netip.MustParseAddr("10.5.0.9")}}); got != "10.5.0.9/24" {
			t.Errorf("address %s", got)
		}
		if err := d.Free(t.Context(), "net", "a"); err != nil {
			t.Error(err)
		}
		const conf = `{"ipam":{"range":"10.5.0.0/24","type":"whereabouts"},"type":"whereabouts","name":"net","cniVersion":"1.1.0"}`
		want := []string{
			`ADD docker-a/reserved in "/run/driver/empty", IP=10.5.0.9;IgnoreUnknown=1: ` + conf,
			`DEL docker-a/reserved in "/run/driver/empty", IP=10.5.0.9;IgnoreUnknown=1: ` + conf,
		}
		if diff := cmp.Diff(want, asked); diff != "" {
			t.Errorf("asked (-want +got):\n%s", diff)
		}
	})
}

func TestCanAsk(t *testing.T) {
	d := &Desk{}
	for _, test := range []struct {
		ipam, why string
		can       bool
	}{
		{ipam: hostRange, can: true},
		{ipam: `{"type": "whereabouts"}`, can: true},
		{ipam: `{"type": "dhcp"}`, why: "DHCP server"},
		{ipam: ``, why: `no plugin has "ipam"`},
	} {
		if can, why := d.CanAsk(network(t, test.ipam)); can != test.can || !strings.Contains(why, test.why) {
			t.Errorf("%s: %v, %q; want %v, %q", test.ipam, can, why, test.can, test.why)
		}
	}
}

// TestConcurrent: pods and reservations of one network share its addresses.
func TestConcurrent(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		n := network(t, hostRange)
		desks := []*Desk{newDesk(t, ""), newDesk(t, "")}
		var mu sync.Mutex
		holders := map[netip.Prefix]string{}
		note := func(id string, r *cni.Result, err error) {
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Errorf("%s: %v", id, err)
				return
			}
			for _, ip := range r.IPs {
				if other := holders[ip.Address]; other != "" {
					t.Errorf("%s has %s, and so has %s", id, ip.Address, other)
				}
				holders[ip.Address] = id
			}
		}
		var group sync.WaitGroup
		for i := range 8 {
			d, pod := desks[i%2], netnstest.NewPod(t, fmt.Sprintf("p%d", i))
			group.Go(func() {
				c := seam.Container{ID: fmt.Sprintf("p%d", i), IfName: "eth0", NetNS: pod.Path}
				r, err := d.Runtime.Attach(t.Context(), n, c)
				note(c.ID, r, err)
			})
			for j := range 4 {
				group.Go(func() {
					id := fmt.Sprintf("r%d-%d", i, j)
					r, err := d.Take(t.Context(), n, id, Request{})
					note(id, r, err)
				})
			}
		}
		group.Wait()
		if got, want := len(holders), 2*(8+32); got != want {
			t.Errorf("%d addresses, want %d", got, want)
		}
	})
}

// The variable that makes the test binary a process that is killed in the middle of Take.
const victim = "SEAM_TEST_AHEAD_VICTIM"

// A killer is host-local that is killed when it has leased an address.
type killer struct{ cni.Plugin }

func (k killer) Add(ctx context.Context, r *cni.Request) (*cni.Result, error) {
	if _, err := k.Plugin.Add(ctx, r); err != nil {
		return nil, err
	}
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
	return nil, errors.New("still alive")
}

// TestVictim is no test but the process that TestKilled kills.
func TestVictim(t *testing.T) {
	if os.Getenv(victim) == "" {
		t.Skip("runs as a part of TestKilled")
	}
	d := newDesk(t, "")
	plugins := d.Runtime.Plugins.(wire.Path)
	plugins.Builtins[hostLocal] = killer{plugins.Builtins[hostLocal]}
	_, err := d.Take(t.Context(), network(t, hostRange), "dead", Request{})
	t.Fatal(err)
}

// What a killed Take has leased is freed by the next operation.
func TestKilled(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestVictim$")
		cmd.Env = append(os.Environ(), victim+"=1")
		out, err := cmd.CombinedOutput()
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
			t.Fatalf("victim was not killed: %v\n%s", err, out)
		}
		if held(t) == "" {
			t.Fatal("nothing to free")
		}
		d := newDesk(t, "")
		if err := d.Runtime.Recover(t.Context()); err != nil {
			t.Error(err)
		}
		if got := held(t); got != "" {
			t.Errorf("still leased: %s", got)
		}
		take(t, d, network(t, hostRange), "dead", Request{})
	})
}

// A lease is freed when nothing is left of its network but the record.
func TestFreeWithoutNetwork(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		d := newDesk(t, "")
		n := network(t, strings.Replace(hostRange, `"type"`, `"dataDir": "`+leases+`", "type"`, 1))
		take(t, d, n, "a", Request{})
		other := newDesk(t, "") // a driver that knows nothing
		if err := other.Free(t.Context(), "net", "a"); err != nil {
			t.Error(err)
		}
		if got := held(t); got != "" {
			t.Errorf("still leased: %s", got)
		}
		records, err := d.Runtime.Attachments()
		if len(records) > 0 || err != nil {
			t.Errorf("records %v, %v", records, err)
		}
	})
}
