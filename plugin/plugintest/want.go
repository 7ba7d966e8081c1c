package plugintest

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/seamnet/seam/cni"
)

// Must stops the test if there is an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// WantError fails the test unless there is an error with the code and all the words. What
// tells the reader what was tried.
func WantError(t testing.TB, what string, err error, code cni.Code, words ...string) {
	t.Helper()
	if err == nil || cni.CodeOf(err) != code {
		t.Errorf("%s: %v, code %d; want code %d and %q", what, err, cni.CodeOf(err), code, words)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: %v, want %q", what, err, w)
		}
	}
}

// WantResult fails the test unless both results are the same, but for what the options say.
func WantResult(t testing.TB, what string, want, got *cni.Result, but ...cmp.Option) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{}), cmp.Options(but)); diff != "" {
		t.Errorf("%s: result (-want +got):\n%s", what, diff)
	}
}

// WantLackTold fails the test unless STATUS of the plugin says that the kernel has no links
// of the kind if it has none, and is content if it has.
func WantLackTold(t testing.TB, kind string, p cni.Plugin, r *cni.Request) {
	t.Helper()
	err := p.Status(t.Context(), r)
	if ok, supportsErr := Links(t, nil).Supports(kind); !ok || supportsErr != nil {
		WantError(t, "STATUS", err, cni.CodeNotAvailable, "this kernel has no "+kind)
	} else if err != nil {
		t.Errorf("STATUS: %v", err)
	}
}
