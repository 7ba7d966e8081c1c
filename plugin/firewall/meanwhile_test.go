package firewall_test

import (
	"context"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/firewall"
	"github.com/seamnet/seam/plugin/plugintest"
	"github.com/seamnet/seam/state"
)

// A meanwhile is a context in which something happens when its end is first asked for: by
// who finds the lock taken and starts to wait.
type meanwhile struct {
	context.Context
	happens func()
}

func (m *meanwhile) Done() <-chan struct{} {
	if f := m.happens; f != nil {
		m.happens = nil
		f()
	}
	return m.Context.Done()
}

// TestDelMeanwhile: what DEL removes while others wait for the lock is neither put back nor
// removed twice.
func TestDelMeanwhile(t *testing.T) {
	for name, keys := range map[string]string{
		"nftables": nftablesKeys + `,"ingressPolicy":"isolated"`,
		"iptables": iptablesKeys + `,"ingressPolicy":"same-bridge"`,
	} {
		t.Run(name, func(t *testing.T) {
			netnstest.Host(t, func(t *testing.T) {
				h := plugintest.Host(t)
				p, dir := newOn(h), h.State("firewall")
				ip(t, nil, "link add bra type bridge")
				to := func(id string) *cni.Request {
					return request(t, keys, id, result("bra", "v"+id, "/x", "10.1.0.2/24"))
				}
				// during takes the lock; once somebody waits for it, it is given back and that happens.
				during := func(f func()) (_ context.Context, happened func() bool) {
					unlock, err := state.Lock(ctx, dir)
					must(t, err)
					m := &meanwhile{ctx, func() { unlock(); f() }}
					return m, func() bool { return m.happens == nil }
				}
				must(t, second(p.Add(ctx, to("a"))))
				must(t, p.Del(ctx, to("a")))
				now := func() string {
					records, err := os.ReadDir(dir)
					must(t, err)
					text := plugintest.State(t) + rules(t)
					for _, r := range records {
						text += r.Name() + "\n"
					}
					return text
				}
				before := now()

				must(t, second(p.Add(ctx, to("a"))))
				waiting, happened := during(func() { must(t, p.Del(ctx, to("a"))) })
				must(t, firewall.Repair(waiting, h))
				if diff := cmp.Diff(before, now()); diff != "" || !happened() {
					t.Errorf("repaired after DEL (-want +got):\n%s", diff)
				}

				// The address is another's by then.
				must(t, second(p.Add(ctx, to("a"))))
				waiting, happened = during(func() {
					must(t, p.Del(ctx, to("a")))
					must(t, second(p.Add(ctx, to("b"))))
				})
				gc := request(t, keys, "", nil)
				gc.Attachment, gc.Valid = cni.Attachment{Network: "net"}, []cni.Attachment{to("b").Attachment}
				must(t, p.GC(waiting, gc))
				if err := p.Check(ctx, to("b")); err != nil || !happened() {
					t.Errorf("after GC: %v", err)
				}
			})
		})
	}
}
