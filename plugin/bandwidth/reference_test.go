package bandwidth_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/plugintest"
)

// TestLikeReference: same queues, same result, and each can check and delete what the
// other made.
func TestLikeReference(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		theirs, _ := plugintest.Reference(t, "bandwidth")
		w := newWorld(t)
		before := plugintest.State(t)
		for _, keys := range []string{limits, `"ingressRate":12345678,"ingressBurst":999999`, `"egressRate":80000000000,"egressBurst":8000000000`,
			`"runtimeConfig":{"bandwidth":{"IngressRate":1000000,"IngressBurst":2147483647}}`,
			`"runtimeConfig":{"bandwidth":{"IngressRate":8000000,"IngressBurst":4294967295}}`, ""} {
			// A burst that does not fit: the reference takes its lowest bits, and refuses them in CHECK.
			boundless := strings.Contains(keys, "2147483647") || strings.Contains(keys, "4294967295")
			var queues, results [2]string
			plugins := []cni.Plugin{w, theirs}
			for i, p := range plugins {
				r := w.Request(conf(keys))
				result, err := p.Add(ctx, r)
				must(t, err)
				r.Prev = result
				if !boundless {
					must(t, theirs.Check(ctx, r))
				}
				must(t, w.Check(ctx, r))
				b, err := wire.EncodeResult(result, "1.0.0")
				must(t, err)
				last := result.Interfaces[len(result.Interfaces)-1]
				neutral := strings.NewReplacer(last.MAC.String(), "MAC", last.Name, "LAST")
				queues[i], results[i] = neutral.Replace(tc(t)), neutral.Replace(string(b))
				must(t, plugins[1-i].Del(ctx, r)) // the other one's
				if links := plugintest.Run(t, nil, "ip", "link"); strings.Contains(links, "bwp") {
					t.Errorf("%s: the other left:\n%s", keys, links)
				}
				must(t, w.Del(ctx, r))
				if diff := cmp.Diff(before, plugintest.State(t)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", keys, diff)
				}
			}
			if diff := cmp.Diff(queues[1], queues[0]); diff != "" && !boundless {
				t.Errorf("%s: queues (-reference +seam):\n%s", keys, diff)
			}
			if diff := cmp.Diff(results[1], results[0]); diff != "" {
				t.Errorf("%s: results (-reference +seam):\n%s", keys, diff)
			}
		}
	})
}
