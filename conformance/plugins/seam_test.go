package plugins_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seamnet/seam/conformance"
	"github.com/seamnet/seam/conformance/plugins"
	"github.com/seamnet/seam/plugin/plugintest"
)

// tried are all levels but the one that only measures.
var tried = []conformance.Level{conformance.Protocol, conformance.Kernel, conformance.Network, conformance.Leaks}

// TestSeamInProcess carries out the suite on Seam's plugins as a program calls them that
// has them linked in.
func TestSeamInProcess(t *testing.T) {
	for _, pluginType := range []string{"bridge", "ptp", "ipvlan", "vlan", "dummy", "vrf", "tap", "loopback", "host-local", "static",
		"portmap", "bandwidth", "tuning", "firewall", "sbr", "masquerade", "wrap"} {
		t.Run(pluginType, func(t *testing.T) { conforms(t, plugins.Target{Builtin: true}, pluginType, tried) })
	}
	// Duplicate detection makes each of their checks take seconds.
	for _, pluginType := range []string{"macvlan", "host-device"} {
		t.Run(pluginType, func(t *testing.T) {
			conforms(t, plugins.Target{Builtin: true}, pluginType, []conformance.Level{conformance.Kernel})
		})
	}
}

// TestSeamExecuted does the same with the program, as runtimes call it.
func TestSeamExecuted(t *testing.T) {
	program := plugintest.Program(t)
	dir := t.TempDir()
	for name := range builtins() {
		if err := os.Symlink(program, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, pluginType := range []string{"bridge", "host-local", "portmap"} {
		t.Run(pluginType, func(t *testing.T) {
			target := plugins.Target{Dirs: []string{dir}, Programs: map[string]string{pluginType: filepath.Join(dir, pluginType)}}
			conforms(t, target, pluginType, tried)
		})
	}
	t.Run("chain", func(t *testing.T) {
		target := plugins.Target{Dirs: []string{dir}, Config: []byte(chain)}
		conforms(t, target, "chain", []conformance.Level{conformance.Network, conformance.Leaks})
	})
}

// chain is what nerdctl writes, with both families.
const chain = `{"cniVersion":"1.0.0","name":"nerdctl","plugins":[
	{"type":"bridge","bridge":"nerdctl0","isGateway":true,"ipMasq":true,"hairpinMode":true,
	 "ipam":{"type":"host-local","routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}],"ranges":[[{"subnet":"10.77.0.0/24"}],[{"subnet":"fd00:77::/64"}]]}},
	{"type":"portmap","capabilities":{"portMappings":true}},
	{"type":"firewall","ingressPolicy":"same-bridge"},
	{"type":"tuning"}]}`

// conforms fails the test unless nothing failed, is lacking or could not be carried out.
func conforms(t *testing.T, target plugins.Target, pluginType string, levels []conformance.Level) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	if target.Config == nil {
		conf, err := plugins.Network(pluginType, nil)
		if err != nil {
			t.Fatal(err)
		}
		target.Config, target.Trial = conf, []string{pluginType}
	}
	suite, err := plugins.Suite(target, pluginType, builtins)
	if err != nil {
		t.Fatal(err)
	}
	report, err := conformance.Run(t.Context(), suite, conformance.Options{Levels: levels})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Findings {
		switch f.Outcome {
		case conformance.Failed, conformance.Lacking, conformance.Broken:
			t.Errorf("%s %s: %s\n%s", f.ID, f.Outcome, f.Says, strings.Join(f.Notes, "\n"))
		}
	}
	if report.Count(conformance.Passed) == 0 {
		t.Skipf("all %d checks are skipped: %s", len(report.Findings), strings.Join(report.Findings[0].Notes, "; "))
	}
}

func TestIDsAreUnique(t *testing.T) {
	seen := make(map[string]bool)
	for _, c := range plugins.All() {
		if seen[c.ID] {
			t.Errorf("%s: two checks have this ID", c.ID)
		}
		seen[c.ID] = true
		if !strings.HasSuffix(c.Says, ".") || c.Source == "" {
			t.Errorf("%s: says %q, source %q", c.ID, c.Says, c.Source)
		}
	}
}
