package plugins_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/seamnet/seam/conformance"
	"github.com/seamnet/seam/conformance/plugins"
	"github.com/seamnet/seam/plugin/plugintest"
)

// A seamRow says which levels are carried out for a plugin.
type seamRow struct {
	plugin string
	levels []conformance.Level
}

// seamRows leave out what a row above them proves already: an IPAM plugin stands in the
// bridge's chain, a chained plugin behind it, and what is wrapped is ptp. What only measures
// is left out by all.
func seamRows() []seamRow {
	const protocol, kernel, network, leaks = conformance.Protocol, conformance.Kernel, conformance.Network, conformance.Leaks
	levels := func(some ...conformance.Level) []conformance.Level { return some }
	all := levels(protocol, kernel, network, leaks)
	return []seamRow{
		{"bridge", all}, {"ptp", all}, {"ipvlan", all}, {"vlan", all}, {"vrf", all},
		{"dummy", levels(protocol, kernel, leaks)}, {"tap", levels(protocol, kernel, leaks)}, {"loopback", levels(protocol, kernel, leaks)},
		{"host-local", levels(protocol, leaks)}, {"static", levels(protocol, kernel)},
		{"portmap", levels(protocol, network, leaks)}, {"firewall", levels(protocol, network, leaks)},
		{"sbr", levels(protocol, network, leaks)}, {"masquerade", levels(protocol, network, leaks)},
		{"bandwidth", levels(protocol, kernel, leaks)}, {"tuning", levels(protocol, kernel, leaks)}, {"wrap", levels(protocol, leaks)},
		// Duplicate detection makes each of their checks take seconds.
		{"macvlan", levels(kernel)}, {"host-device", levels(kernel)},
	}
}

// TestSeamInProcess carries out the suite on Seam's plugins as a program calls them that
// has them linked in.
func TestSeamInProcess(t *testing.T) {
	t.Parallel()
	for _, row := range seamRows() {
		t.Run(row.plugin, func(t *testing.T) {
			o := conformance.Options{Levels: row.levels}
			if len(row.levels) == 1 {
				o.Parallel = 12 // they wait
			}
			conforms(t, plugins.Target{Builtin: true}, row.plugin, o)
		})
	}
}

// TestSeamExecuted does the same with the program, as runtimes call it, as far as that may
// differ. The chain is what can be killed of portmap, too.
func TestSeamExecuted(t *testing.T) {
	t.Parallel()
	program := plugintest.Program(t)
	dir := t.TempDir()
	for name := range builtins() {
		if err := os.Symlink(program, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	const protocol, network, leaks = conformance.Protocol, conformance.Network, conformance.Leaks
	for _, row := range []seamRow{
		{"bridge", []conformance.Level{protocol, leaks}},
		{"host-local", []conformance.Level{protocol, leaks}},
		{"portmap", []conformance.Level{protocol}},
	} {
		t.Run(row.plugin, func(t *testing.T) {
			target := plugins.Target{Dirs: []string{dir}, Programs: map[string]string{row.plugin: filepath.Join(dir, row.plugin)}}
			conforms(t, target, row.plugin, conformance.Options{Levels: row.levels})
		})
	}
	t.Run("chain", func(t *testing.T) {
		target := plugins.Target{Dirs: []string{dir}, Config: []byte(chain)}
		conforms(t, target, "chain", conformance.Options{Levels: []conformance.Level{network, leaks}})
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
func conforms(t *testing.T, target plugins.Target, pluginType string, o conformance.Options) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	if target.Config == nil {
		conf, err := plugins.Network(pluginType, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		target.Config, target.Trial = conf, []string{pluginType}
	}
	suite, err := plugins.Suite(target, pluginType, builtins)
	if err != nil {
		t.Fatal(err)
	}
	skipIfMissing(t, suite)
	report, err := conformance.Run(t.Context(), suite, o)
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
		t.Errorf("all %d checks are skipped: %s", len(report.Findings), strings.Join(report.Findings[0].Notes, "; "))
	}
}

// skipIfMissing skips the test if one check, which is for all plugins, is skipped: the
// kernel lacks what the plugin is about.
func skipIfMissing(t *testing.T, suite conformance.Suite) {
	t.Helper()
	report, err := conformance.Run(t.Context(), suite, conformance.Options{Match: regexp.MustCompile("^protocol/version$")})
	if err != nil {
		t.Fatal(err)
	}
	if f := report.Findings[0]; f.Outcome == conformance.Skipped {
		t.Skip(strings.Join(f.Notes, "; "))
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
