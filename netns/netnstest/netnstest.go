// Package netnstest gives each test a host of its own: a network namespace for
// the links, routes and firewall, and a mount namespace with empty /run,
// /var/lib/cni and /etc/cni. What a test leaves there goes away with its process.
//
// It is for tests that change the kernel, not for tests of pure code. To look into a
// test's host while it runs: nsenter -t PID -n -m.
package netnstest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/netns/scratch"
)

const inside = "SEAM_TEST_HOST"

// Host runs test in a process of its own, as root of a fresh host. It must be the whole
// body of a test, at the top level or of a t.Run in one that does nothing else; without
// root the test is skipped.
//
// The test binary runs itself again for that one test: moving threads would not
// do, because a test's goroutines run on any thread.
func Host(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	if os.Getenv(inside) == t.Name() {
		if err := scratch.Enter(scratch.StateDirs()...); err != nil {
			t.Fatal(err)
		}
		test(t)
		return
	}
	if other := os.Getenv(inside); other != "" {
		t.Skip("this is the host of " + other)
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	only := "-test.run=^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$"
	var args []string
	for _, a := range os.Args[1:] {
		if run, ok := strings.CutPrefix(a, "-test.run="); ok {
			levels := strings.Split(run, "/")
			for _, subtests := range levels[min(len(levels), strings.Count(t.Name(), "/")+1):] {
				only += "/" + subtests
			}
		}
		ofTest := !strings.HasPrefix(a, "-test.") // flags of its own
		if ofTest || strings.HasPrefix(a, "-test.timeout=") || strings.HasPrefix(a, "-test.short") || strings.HasPrefix(a, "-test.gocoverdir=") {
			args = append(args, a)
		}
	}
	// First, as what is no flag ends the flags.
	args = append([]string{"-test.v=true", "-test.count=1", only}, args...)
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), inside+"="+t.Name())
	scratch.Isolate(cmd)
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil:
		t.Fatalf("%v\n%s", err, out)
	case strings.Contains(string(out), "--- SKIP: "+t.Name()+" "):
		t.Skipf("%s", out)
	case testing.Verbose():
		t.Logf("%s", out)
	}
}

// NewPod makes a namespace at /run/netns/NAME with loopback up, and removes it
// when the test ends.
func NewPod(t testing.TB, name string) *Pod {
	t.Helper()
	path := filepath.Join("/run/netns", name)
	ns, err := netns.NewAt(path)
	if err != nil {
		t.Fatal(err)
	}
	p := &Pod{NS: ns, Path: path}
	t.Cleanup(func() {
		ns.Close()
		if err := netns.Remove(path); err != nil {
			t.Error(err)
		}
	})
	Up(t, ns, "lo")
	return p
}

// A Pod is a namespace that stands for a container or for another host.
type Pod struct {
	NS   *netns.Namespace
	Path string
}

// Up sets a link up in ns; nil means the current namespace.
func Up(t testing.TB, ns *netns.Namespace, ifname string) {
	t.Helper()
	up := func() error { return scratch.Up(ifname) }
	var err error
	if ns == nil {
		err = up()
	} else {
		err = ns.Do(up)
	}
	if err != nil {
		t.Fatal(err)
	}
}
