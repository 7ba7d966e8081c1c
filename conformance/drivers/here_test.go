package drivers

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/conformance"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/plugintest"
)

// TestHere: a driver that runs already is tried on its own host, of which all else stays as it
// was; nothing that was made is left, though a check fails in the middle.
func TestHere(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		d := plugintest.NewDriver(t, "trial")
		before, has := plugintest.State(t), d.Has()
		target := Target{Socket: filepath.Join(d.Dir, "trial.sock")}
		r := conform(t, target, "protocol/(order|concurrent|driver-restart|address|pools-others|broken-connection)|kernel/sandbox|network/(endpoints|outside)|leaks/(endpoint|files)")
		wantFindings(t, r, map[string]conformance.Outcome{
			"protocol/driver-restart": conformance.Skipped,
			"protocol/pools-others":   conformance.Skipped,
			"network/outside":         conformance.Skipped,
			"leaks/files":             conformance.Skipped,
		})
		if diff := cmp.Diff(has, d.Has()); diff != "" {
			t.Errorf("what the driver has (-before +after):\n%s", diff)
		}
		if diff := cmp.Diff(before, plugintest.State(t)); diff != "" {
			t.Errorf("the host (-before +after):\n%s", diff)
		}

		// Whatever the engine does next goes wrong.
		d.Before = func(verb string) error {
			if verb == "Join" {
				return errRefused
			}
			return nil
		}
		r = conform(t, target, "protocol/order|network/many")
		wantFindings(t, r, map[string]conformance.Outcome{"protocol/order": conformance.Failed, "network/many": conformance.Failed})
		if diff := cmp.Diff(has, d.Has()); diff != "" {
			t.Errorf("what the driver has after failures (-before +after):\n%s", diff)
		}
		if diff := cmp.Diff(before, plugintest.State(t)); diff != "" {
			t.Errorf("the host after failures (-before +after):\n%s", diff)
		}
	})
}

type refused string

func (r refused) Error() string { return string(r) }

const errRefused = refused("refused")
