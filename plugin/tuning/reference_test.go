package tuning_test

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/plugintest"
)

// TestLikeReference: same state, result and file, and each can check and restore what
// the other one changed.
func TestLikeReference(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		theirs, _ := plugintest.Reference(t, "tuning")
		w := newWorld(t)
		before := state(w)
		plugins := []cni.Plugin{w, theirs}
		for _, keys := range []string{all, `"mtu":1400`, `"allmulti":false,"txQLen":0`, all + `,"sysctl":{"net.ipv4.conf.IFNAME.arp_filter":"1"}`,
			`"runtimeConfig":{"mac":"` + mac + `"}`, `"args":{"cni":{"mtu":1400,"promisc":true}}`, ""} {
			var states, results, backups [2]string
			for i, p := range plugins {
				r := w.Request(conf(keys))
				result, err := p.Add(ctx, r)
				must(t, err)
				r.Prev = result
				for _, checker := range plugins {
					must(t, checker.Check(ctx, r))
				}
				b, err := wire.EncodeResult(result, "1.0.0")
				must(t, err)
				states[i], results[i], backups[i] = state(w), string(b), backup(t)
				must(t, plugins[1-i].Del(ctx, r)) // the other one's
				if got := state(w); got != before && !strings.Contains(keys, "sysctl") {
					t.Errorf("%s: not restored (-want +got):\n%s", keys, cmp.Diff(before, got))
				}
				if left := files(t, dataDir); left != "" {
					t.Errorf("%s: left %s", keys, left)
				}
				plugintest.Run(t, w.Pod, "sysctl", "-w", "net.ipv4.conf.eth0.arp_filter=0")
			}
			for what, got := range map[string][2]string{"state": states, "result": results, "backup": backups} {
				if diff := cmp.Diff(got[1], got[0]); diff != "" {
					t.Errorf("%s: %s (-reference +seam):\n%s", keys, what, diff)
				}
			}
		}
	})
}

// backup returns what is written down in keys that both plugins know.
func backup(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile(dataDir + "/c1_eth0.json")
	if errors.Is(err, os.ErrNotExist) {
		return ""
	}
	must(t, err)
	var keys map[string]any
	must(t, json.Unmarshal(data, &keys))
	delete(keys, "network")
	delete(keys, "sysctl")
	data, err = json.Marshal(keys)
	must(t, err)
	return string(data)
}
