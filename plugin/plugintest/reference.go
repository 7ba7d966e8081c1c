package plugintest

import (
	"os"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
)

// Reference returns the reference plugin of that type and its IPAM plugins, from the folder
// SEAM_REFERENCE_PLUGINS; the test is skipped if that is not set.
func Reference(t testing.TB, pluginType string) (cni.Plugin, cni.Finder) {
	t.Helper()
	dir := os.Getenv("SEAM_REFERENCE_PLUGINS")
	if dir == "" {
		t.Skip("needs the reference plugins: set SEAM_REFERENCE_PLUGINS to their folder, as make test does")
	}
	path := wire.Path{Dirs: []string{dir}}
	p, err := path.Find(pluginType)
	if err != nil {
		t.Fatal(err)
	}
	return p, path
}

// Unlike says in what a plugin may differ from the reference; the zero value: in nothing.
type Unlike struct {
	MAC   bool           // the kernel invents the MAC addresses of the result
	State *regexp.Regexp // is cut out of the state inside; nil: nothing is
	Undo  bool           // the reference can neither CHECK nor DEL what Seam attached
}

// own is what each interface has of its own: number, MAC address and what follows from it, and
// how far the kernel is with its addresses. The alias is Seam's.
var own = regexp.MustCompile(`(?m)^\d+: |([0-9a-f]{2}:){5}[0-9a-f]{2}|fe80::[0-9a-f:]+|^ *alias \S+\s|valid_lft.*$|tentative `)

// WantLikeReference fails the test unless the plugin answers the request as the reference
// plugin of its type does, with one result and one state of the pod, and each passes and
// detaches what the other attached.
func (f *Fixture) WantLikeReference(r *cni.Request, unlike Unlike) {
	f.Helper()
	reference, plugins := Reference(f, r.Config.Type)
	with := func(r *cni.Request, plugins cni.Finder) *cni.Request {
		call := *r
		call.Plugins = plugins
		return &call
	}
	attach := func(p cni.Plugin, plugins cni.Finder) (*cni.Request, string) {
		f.Helper()
		call := with(r, plugins)
		f.Attach(p, call)
		state := own.ReplaceAllString(f.IP("-d addr")+f.IP("route")+f.IP("-6 route show proto boot"), "")
		if unlike.State != nil {
			state = unlike.State.ReplaceAllString(state, "")
		}
		return call, state
	}
	theirs, want := attach(reference, plugins)
	theirs = with(theirs, f.Plugins)
	f.Passes(theirs)
	f.Detach(f, theirs)

	ours, got := attach(f, f.Plugins)
	but := cmp.Options{cmpopts.EquateEmpty()}
	if unlike.MAC {
		but = append(but, cmpopts.IgnoreFields(cni.Interface{}, "MAC"))
	}
	WantResult(f, "want the reference's for "+string(r.Config.JSON), theirs.Prev, ours.Prev, but)
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("state inside for %s (-reference +Seam):\n%s", r.Config.JSON, diff)
	}
	if !unlike.Undo {
		ours = with(ours, plugins)
		if err := reference.Check(f.Context(), ours); err != nil {
			f.Errorf("the reference's CHECK of Seam's for %s: %v", r.Config.JSON, err)
		}
		f.Detach(reference, ours)
	}
	f.Detach(f, with(ours, f.Plugins))
}
