package leaks

import (
	"flag"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/all"
	"github.com/seamnet/seam/plugin/plugintest"
)

var soak = flag.Duration("soak", 0, "how long TestSoak goes on; 0: it is skipped")

// TestSoak lets containers come and go on all chains, with failures, kills and a
// firewall that someone flushes, and wants a clean machine in the end. What it has done
// it tells on standard error as it goes: as a test it is silent for long.
func TestSoak(t *testing.T) {
	if *soak == 0 {
		t.Skip("takes long, and is for make soak")
	}
	netnstest.Host(t, func(t *testing.T) {
		t.Logf("repeat with -args -soak=%v -seed=%d", *soak, *seed)
		progress, err := os.OpenFile(progressFile, os.O_WRONLY, 0)
		if err != nil {
			progress = os.Stderr
		}
		h := setup(t)
		before := h.warmUp()
		random := rand.New(rand.NewPCG(*seed, 2))
		stopKills := h.killChildren(rand.New(rand.NewPCG(*seed, 1)))
		const atATime = 150
		attached, tried := 0, 0
		start := time.Now()
		for n := uint64(0); time.Since(start) < *soak; n++ {
			stopFlushes := h.flushNow(random.IntN(2) == 0)
			for _, ok := range h.round(atATime, *seed+n) {
				tried++
				if ok {
					attached++
				}
			}
			stopFlushes()
			h.collect()
			if _, err := progress.WriteString(time.Since(start).Round(time.Second).String() + " of " + soak.String() + "\n"); err != nil {
				t.Log(err)
			}
		}
		stopKills()
		t.Logf("%d containers came and went in %v, %d were attached", tried, time.Since(start).Round(time.Second), attached)
		if attached == 0 || attached == tried {
			t.Error("the test has tested nothing: neither all nor none should succeed")
		}
		h.collect()
		if err := all.Repair(t.Context(), h.kernel); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(before, h.settled(before)); diff != "" {
			t.Errorf("state (-before +after):\n%s", diff)
		}
	})
}

// progressFile is where a person is who watches, past what gathers a test's output.
const progressFile = "/dev/tty"

// flushNow flushes the host's firewall a few times while a round is on, if wanted.
func (h *host) flushNow(wanted bool) (stop func()) {
	if !wanted {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case <-time.After(500 * time.Millisecond):
				// The table may not be there at this moment, which is as good.
				_, _ = plugintest.Try(nil, "nft", "delete", "table", "inet", "seam")
			}
		}
	}()
	return func() { close(done); <-ended }
}
