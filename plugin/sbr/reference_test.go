package sbr_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/bridge"
	"github.com/seamnet/seam/plugin/plugintest"
	"github.com/seamnet/seam/plugin/sbr"
)

// TestLikeReference: same rules and tables, same result, and each can undo what the
// other one made. The reference moves link-local routes, too, and copies each family's
// routes to the other one's tables, where nothing finds them.
func TestLikeReference(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		theirs, _ := plugintest.Reference(t, "sbr")
		h := plugintest.Host(t)
		ours, maker := sbr.New(h), bridge.New(h)
		pod := netnstest.NewPod(t, "pod1")
		for _, keys := range []string{"", `,"table":250`} {
			var state [2]string
			plugins := []cni.Plugin{ours, theirs}
			for i, p := range plugins {
				made := attach(t, maker, "bridge", pod, 1)
				r := request(made, keys)
				result, err := p.Add(ctx, r)
				must(t, err)
				if diff := cmp.Diff(made.Prev, result, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
					t.Errorf("result (-want +got):\n%s", diff)
				}
				must(t, ours.Check(ctx, r))
				state[i] = rules(t, pod) + table(t, pod, "-4", "main") + table(t, pod, "-6", "main") + table(t, pod, "-4", "100") + table(t, pod, "-6", "101")
				must(t, plugins[1-i].Del(ctx, r))
				if got := rules(t, pod); got != "" {
					t.Errorf("the other one left:\n%s", got)
				}
				must(t, maker.Del(ctx, made))
			}
			if diff := cmp.Diff(state[1], state[0]); diff != "" {
				t.Errorf("%s (-reference +seam):\n%s", keys, diff)
			}
		}
	})
}
