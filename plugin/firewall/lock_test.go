package firewall_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/plugintest"
	"github.com/seamnet/seam/state"
)

// TestLockIsBounded: who cannot count walls in time says so. An ADD then leaves nothing to
// undo, a DEL nothing half done.
func TestLockIsBounded(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h := plugintest.Host(t)
		p, dir := newOn(h), h.State("firewall")
		ip(t, nil, "link add bra type bridge")
		now := func() string {
			t.Helper()
			got := plugintest.State(t)
			files, err := os.ReadDir(dir)
			must(t, err)
			for _, f := range files {
				if !f.IsDir() {
					got += f.Name() + "\n"
				}
			}
			return got
		}
		bounded := func(what string, call func(context.Context) error) {
			t.Helper()
			unlock, err := state.Lock(ctx, dir)
			must(t, err)
			defer unlock()
			ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			defer cancel()
			err = call(ctx)
			if cni.CodeOf(err) != cni.CodeTryAgain || !errors.Is(err, state.ErrLocked) || !strings.Contains(err.Error(), dir) {
				t.Errorf("%s: %v, want code %d and %s", what, err, cni.CodeTryAgain, dir)
			}
		}
		refused := func(what string, call func(context.Context) error) {
			t.Helper()
			before := now()
			bounded(what, call)
			if diff := cmp.Diff(before, now()); diff != "" {
				t.Errorf("%s (-before +after):\n%s", what, diff)
			}
		}
		must(t, os.MkdirAll(dir, 0o700))
		for name, keys := range map[string]string{
			"same-bridge": nftablesKeys + `,"ingressPolicy":"same-bridge"`,
			"isolated":    nftablesKeys + `,"ingressPolicy":"isolated"`,
			"iptables":    iptablesKeys,
		} {
			r := request(t, keys, "c", result("bra", "va", "/x", "10.1.0.2/24"))
			add := func(ctx context.Context) error { return second(p.Add(ctx, r)) }
			refused("ADD, "+name, add)
			must(t, add(ctx))
			refused("DEL, "+name, func(ctx context.Context) error { return p.Del(ctx, r) })
			must(t, p.Check(ctx, r))
			gc := *r
			gc.Valid = []cni.Attachment{}
			bounded("GC, "+name, func(ctx context.Context) error { return p.GC(ctx, &gc) })
			must(t, p.GC(ctx, &gc))
			if err := p.Check(ctx, r); err == nil {
				t.Errorf("%s: CHECK finds nothing after GC", name)
			}
		}

		// Who has neither wall nor iptables does not wait for those who have.
		unlock, err := state.Lock(ctx, dir)
		must(t, err)
		defer unlock()
		r := request(t, nftablesKeys, "c", result("bra", "va", "/x", "10.1.0.2/24"))
		must(t, second(p.Add(ctx, r)))
		must(t, os.WriteFile(dir+"/"+r.Tag().Hash(32)+".json.tmp", []byte("{"), 0o600)) // of an ADD that was killed
		must(t, p.Del(ctx, r))
		must(t, os.WriteFile(dir+"/"+r.Tag().Hash(32)+".json.tmp", []byte("{"), 0o600))
		must(t, p.Del(ctx, r))
		if files, err := os.ReadDir(dir); err != nil || len(files) != 1 { // the folder of the walls
			t.Errorf("left behind: %v, %v", files, err)
		}
	})
}
