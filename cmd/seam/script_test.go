package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/all"
)

func TestMain(m *testing.M) {
	program := func() { os.Exit(run()) }
	programs := map[string]func(){"seam": program}
	for name := range all.Registry(plugin.NewHost(plugin.DefaultDirs)) {
		programs[name] = program
	}
	testscript.Main(m, programs)
}

// TestScripts plays the stories of testdata/script on a host of their own, one
// after another. Beside testscript's words they know
//
//	netns NAME...     make namespaces, which are removed when the story ends
//	rmnetns NAME...   remove them earlier
//	remember          note the host's state: links, addresses, rules, files
//	unchanged         compare with what was noted
//	forget-bridges    delete the bridges, which plugins make and leave
func TestScripts(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		testscript.RunT(serial{t}, testscript.Params{
			Dir:                 "testdata/script",
			RequireExplicitExec: true,
			RequireUniqueNames:  true,
			Setup: func(env *testscript.Env) error {
				env.Defer(func() { wipe(t) })
				// Plugins that the machine happens to have would go before the built-in ones.
				env.Setenv("CNI_PATH", t.TempDir())
				return nil
			},
			Cmds: map[string]func(*testscript.TestScript, bool, []string){
				"netns":          makeNamespaces,
				"rmnetns":        removeNamespaces,
				"remember":       remember,
				"unchanged":      unchanged,
				"forget-bridges": forgetBridges,
			},
		})
	})
}

// serial is a test whose subtests, which share the host, do not run in parallel.
type serial struct{ *testing.T }

func (serial) Parallel()       {}
func (s serial) Verbose() bool { return testing.Verbose() }
func (s serial) Run(name string, f func(testscript.T)) {
	s.T.Run(name, func(t *testing.T) { f(serial{t}) })
}

func makeNamespaces(ts *testscript.TestScript, neg bool, names []string) {
	for _, name := range names {
		path := filepath.Join(namedNamespaces, name)
		ns, err := netns.NewAt(path)
		ts.Check(err)
		ts.Check(ns.Close())
		ts.Defer(func() { ts.Check(netns.Remove(path)) })
	}
}

func removeNamespaces(ts *testscript.TestScript, neg bool, names []string) {
	for _, name := range names {
		ts.Check(netns.Remove(filepath.Join(namedNamespaces, name)))
	}
}

const memory = "remembered"

func remember(ts *testscript.TestScript, neg bool, _ []string) {
	ts.Check(os.WriteFile(ts.MkAbs(memory), []byte(state(ts)), 0o600))
}

func unchanged(ts *testscript.TestScript, neg bool, _ []string) {
	if diff := cmp.Diff(ts.ReadFile(memory), state(ts)); diff != "" {
		ts.Fatalf("the host has changed (-before +after):\n%s", diff)
	}
}

// wipe makes the host as new: what a failed story left is no matter of the next.
func wipe(t *testing.T) {
	for _, dir := range []string{"/var/lib/cni", "/run/seam"} {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				t.Error(err)
			}
		}
	}
	if out, err := exec.Command("nft", "flush", "ruleset").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// state tells all that attachments leave on a host. Seam's table may be there, empty,
// and locks and cursors outlive attachments.
func state(ts *testscript.TestScript) string {
	var b strings.Builder
	for _, args := range [][]string{{"ip", "-o", "link"}, {"ip", "-o", "addr"}, {"ip", "route"}, {"ip", "-6", "route"}} {
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		ts.Check(err)
		b.Write(out)
	}
	out, err := exec.Command("nft", "list", "ruleset").CombinedOutput()
	ts.Check(err)
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "comment \"") || strings.Contains(line, "elements = ") {
			b.WriteString(line)
		}
	}
	for _, dir := range []string{"/var/lib/cni/results", "/var/lib/cni/networks", "/run/seam"} {
		_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() && !outlives(path) {
				b.WriteString(path + "\n")
			}
			return nil
		})
	}
	return b.String()
}

func outlives(path string) bool {
	name := filepath.Base(path)
	return strings.HasSuffix(name, "lock") || strings.HasPrefix(name, "last_reserved_ip") || filepath.Dir(path) == "/run/seam/networks"
}

func forgetBridges(ts *testscript.TestScript, neg bool, _ []string) {
	out, err := exec.Command("ip", "-o", "link", "show", "type", "bridge").Output()
	ts.Check(err)
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		ts.Check(exec.Command("ip", "link", "del", strings.TrimSuffix(fields[1], ":")).Run())
	}
}
