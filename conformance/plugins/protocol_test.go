package plugins_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/conformance"
	"github.com/seamnet/seam/conformance/plugins"
)

// protocolCases are plugins that misbehave in one way each, what is tried of them, and
// what of that must not pass.
func protocolCases() []protocolCase {
	return []protocolCase{
		{"agrees", "bridge", "del-twice check",
			"unknown-version check-before-0.4.0 gc-before-1.1.0 status-before-1.1.0 error-exit missing-variable container-id " +
				"interface-name bad-input network-name wrong-types ipam-type unknown-command cni-args-malformed add-existing add-again " +
				"add-no-namespace add-own-namespace check-no-prev-result status-no-ipam status-full"},
		{"refuses", "bridge", "error-exit bad-input",
			"version version-bare version-no-input version-newer add error-object container-id wrong-types ipam-type del-never-added"},
		{"loud", "bridge", "del", "version version-bare version-no-input version-newer add add-one-value error-object"},
		{"mute", "bridge", "error-exit bad-input", "error-object ipam-type"},
		{"vague", "bridge", "error-object",
			"unknown-version-code error-version missing-variable-code container-id interface-name-code bad-input-code " +
				"network-name-code wrong-types unknown-command-code add-own-namespace-code status-no-ipam-code delegate-fails-code"},
		{"strict", "bridge", "add version-newer",
			"unknown-key args-key reserved-key unknown-capability no-capability capabilities-key cni-args-ignored cni-args-unset " +
				"foreign-variables"},
		{"leaves", "bridge", "add error-exit",
			"unknown-version-clean missing-variable add-existing-untouched add-again-untouched add-no-namespace-clean " +
				"add-own-namespace delegate-fails-clean"},
		{"overwrites", "bridge", "add", "add-existing add-again"},
		{"clumsy", "bridge", "del",
			"del-twice del-never-added del-interface-gone del-namespace-gone del-no-namespace del-nothing-known del-broken-prev-result " +
				"del-changed-config gc-then-del delegate-del-no-namespace delegate-del-namespace-gone"},
		{"keeps", "bridge", "del-twice",
			"del-interface delegate-del delegate-del-no-namespace delegate-del-namespace-gone delegate-fails-del"},
		{"needs-variable", "bridge", "version-echo", "version version-bare version-no-input version-newer"},
		{"one-version", "bridge", "version-bare", "version version-echo"},
		{"newest-form", "bridge", "add result-1.1.0", "result-0.1.0 result-0.2.0 result-0.3.0 result-0.3.1 result-0.4.0 result-1.0.0"},
		{"no-version", "bridge", "add-one-value", "result-1.1.0"},
		{"no-interfaces", "bridge", "add result-0.2.0",
			"result-interface result-indexes result-0.3.0 result-0.3.1 result-0.4.0 result-1.0.0 result-1.1.0 delegate-result"},
		{"other-sandbox", "bridge", "result-interface", "result-sandbox result-0.1.0 result-0.2.0"},
		{"other-gateway", "bridge", "result-indexes", "result-gateways"},
		{"newer-keys", "bridge", "add result-1.0.0", "result-newer-keys"},
		{"no-addresses", "tuning", "add", "prev-result prev-result-routes"},
		{"no-addresses", "bridge", "add", "delegate-result delegate-dns"},
		{"ipam-of-lan", "host-local", "add", "ipam-result"},
		{"crashes", "tuning", "add prev-result", "no-prev-result"},
		{"blind", "bridge", "check check-silent",
			"check-before-0.4.0 check-no-prev-result check-interface check-address check-route check-port check-down check-mac " +
				"check-lease check-firewall delegate-check delegate-fails-check"},
		{"blind", "bandwidth", "check check-silent", "check-shaping"},
		{"blind", "tuning", "check check-silent", "check-settings"},
		{"blind", "sbr", "check check-silent", "check-rules"},
		{"rigid", "bridge", "check",
			"check-later-route check-moved-route check-later-mac check-later-mtu check-later-interface check-later-address"},
		{"wants-result", "bridge", "check del-twice", "del-never-added del-no-prev-result del-nothing-known"},
		{"collects-none", "bridge", "gc gc-no-list", "gc-before-1.1.0 gc-lease gc-other-interface-lease gc-firewall delegate-gc delegate-fails-gc"},
		{"collects-all", "bridge", "gc gc-dead", "gc-keeps-valid gc-keeps-valid-old-key gc-no-list gc-other-interface"},
		{"collects-more", "bridge", "gc-keeps-valid", "gc-other-network"},
		{"collects-once", "bridge", "gc gc-dead", "gc-again gc-then-del"},
		{"optimist", "bridge", "status", "status-before-1.1.0 status-no-ipam status-full delegate-status delegate-fails-status"},
		{"no-capitals", "portmap", "add", "capability-case"},
		{"no-arguments", "bridge", "delegate-result", "delegate-environment"},
		{"no-variables", "bridge", "delegate-result", "delegate-all-variables"},
		{"no-args", "bridge", "delegate-result", "delegate-configuration"},
		{"quiet", "bridge", "delegate-result", "delegate-stderr"},
		{"inside", "bridge", "delegate-result", "delegate-namespace"},
		{"swallows", "bridge", "delegate-result delegate-check",
			"delegate-fails-add delegate-fails-undone delegate-no-address delegate-fails-check delegate-fails-del delegate-fails-gc " +
				"delegate-fails-status"},
		{"never-undoes", "bridge", "delegate-result",
			"delegate-del delegate-del-no-namespace delegate-del-namespace-gone delegate-fails-undone delegate-fails-del"},
		{"only-in-pod", "bridge", "del del-twice",
			"del-namespace-gone del-no-namespace del-nothing-known delegate-del-no-namespace delegate-del-namespace-gone"},
		{"forgets", "bridge", "del", "del-other-interface"},
		{"lonely", "bridge", "add", "second-interface"},
		{"honest", "static", "add", "ipam-add-again"}, // it gives what it is told to give
		{"wants-path", "tuning", "add", "add-no-path"},
		{"deaf", "bridge", "add", "closed-stdout"},
		{"new-only", "bridge", "delegate-result", "delegate-older-result"},
		{"chatty", "bridge", "add del gc", "del-silent check-silent gc-silent status-silent"},
		{"only-adds", "bridge", "add version", "del check gc gc-dead status"},
		{"no-null", "bridge", "add", "null-prev-result"},
		{"unready", "bridge", "status", ""}, // it says so, and ADD is as good
	}
}

type protocolCase struct {
	fault, plugin string
	passes        string // what else is tried: IDs without the level
	want          string // what must not pass: IDs without the level, in the suite's order
}

// TestFaultsOfProtocol: what a plugin does wrong is found by the checks for it, and by none
// of the others that are tried.
func TestFaultsOfProtocol(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for _, c := range protocolCases() {
		t.Run(c.fault+" "+c.plugin, func(t *testing.T) {
			t.Parallel()
			report := tryFaulty(t, c)
			have := []string{}
			for _, f := range report.Findings {
				switch f.Outcome {
				case conformance.Passed, conformance.Skipped:
				case conformance.Broken:
					t.Errorf("%s: %q", f.ID, f.Notes)
				default:
					have = append(have, strings.TrimPrefix(f.ID, "protocol/"))
					if len(f.Notes) == 0 || !strings.Contains(f.Notes[0], c.plugin) && !strings.Contains(f.ID, "capability-case") {
						t.Errorf("%s: want a note that names the plugin: %q", f.ID, f.Notes)
					}
				}
			}
			if diff := cmp.Diff(strings.Fields(c.want), have); diff != "" {
				t.Errorf("checks that do not pass (-want +got)\n%s", diff)
			}
		})
	}
}

func tryFaulty(t *testing.T, c protocolCase) *conformance.Report {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), c.fault, c.plugin)
	if err := os.Mkdir(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, file); err != nil {
		t.Fatal(err)
	}
	network, err := plugins.Network(c.plugin, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	target := plugins.Target{Config: network, Trial: []string{c.plugin}, Programs: map[string]string{c.plugin: file}, Helper: self}
	suite, err := plugins.Suite(target, c.fault, builtins)
	if err != nil {
		t.Fatal(err)
	}
	ids := strings.Join(strings.Fields(c.passes+" "+c.want), "|")
	report, err := conformance.Run(t.Context(), suite, conformance.Options{Match: regexp.MustCompile("^protocol/(" + ids + ")$")})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// TestEveryProtocolCheckCanFail: there is a fault for each check.
func TestEveryProtocolCheckCanFail(t *testing.T) {
	var failing []string
	for _, c := range protocolCases() {
		failing = append(failing, strings.Fields(c.want)...)
	}
	for _, c := range plugins.All() {
		if id, is := strings.CutPrefix(c.ID, "protocol/"); is && !slices.Contains(failing, id) {
			t.Errorf("%s: no fault in protocolCases makes it fail", c.ID)
		}
	}
}
