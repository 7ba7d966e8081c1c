package seam

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/netns/netnstest"
)

func TestCollect(t *testing.T) {
	one := cni.Attachment{Network: "blue", ContainerID: "c1", IfName: "eth0"}
	tests := []struct {
		name  string
		list  string // additions to the network
		valid []cni.Attachment
		calls []string
		told  []cni.Attachment
		left  []string
	}{
		{"nothing known", "", nil, []string{"GC a", "GC b"}, nil, []string{"c1", "c2"}},
		{"nothing valid", "", []cni.Attachment{}, []string{"DEL b", "DEL a", "DEL b", "DEL a", "GC a", "GC b"}, []cni.Attachment{}, nil},
		{"one valid", "", []cni.Attachment{one}, []string{"DEL b", "DEL a", "GC a", "GC b"}, []cni.Attachment{one}, []string{"c1"}},
		{
			"network not given, or another", "", []cni.Attachment{{ContainerID: "c1", IfName: "eth0"}, {Network: "red", ContainerID: "c2", IfName: "eth0"}},
			[]string{"DEL b", "DEL a", "GC a", "GC b"}, []cni.Attachment{one}, []string{"c1"},
		},
		{"disabled", `"disableGC": true,`, []cni.Attachment{}, nil, nil, []string{"c1", "c2"}},
		{"old version", `"cniVersion": "0.4.0",`, []cni.Attachment{one}, []string{"DEL b", "DEL a", "GC a", "GC b"}, []cni.Attachment{one}, []string{"c1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, t.TempDir())
			if !strings.Contains(tt.list, "cniVersion") {
				tt.list += `"cniVersion": "1.1.0",`
			}
			blue := parseNetwork(t, `{`+tt.list+`"name": "blue", "plugins": [{"type": "a"}, {"type": "b"}]}`)
			red := parseNetwork(t, `{"cniVersion": "1.1.0", "name": "red", "plugins": [{"type": "a"}]}`)
			for _, id := range []string{"c1", "c2"} {
				if _, err := b.Attach(t.Context(), blue, container(id)); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := b.Attach(t.Context(), red, container("c2")); err != nil {
				t.Fatal(err)
			}
			b.book.take()
			b.plugins["a"].on[GC] = func(_ context.Context, r *cni.Request) error {
				if diff := cmp.Diff(tt.told, r.Valid); diff != "" {
					t.Errorf("valid (-want +got)\n%s", diff)
				}
				if r.Attachment != (cni.Attachment{Network: "blue"}) {
					t.Errorf("attachment %v, want only the network", r.Attachment)
				}
				return nil
			}
			if err := b.Collect(t.Context(), blue, tt.valid); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(tt.calls, b.book.take()); diff != "" {
				t.Errorf("calls (-want +got)\n%s", diff)
			}
			records, err := b.Attachments()
			if err != nil {
				t.Fatal(err)
			}
			var left []string
			for _, r := range records {
				if r.Network == "blue" {
					left = append(left, r.ContainerID)
				}
			}
			if diff := cmp.Diff(tt.left, left); diff != "" {
				t.Errorf("attachments left (-want +got)\n%s", diff)
			}
			if len(records) != len(left)+1 {
				t.Error("the attachment of another network was touched")
			}
		})
	}
}

func TestCollectGoesOn(t *testing.T) {
	b := newBench(t, t.TempDir())
	if _, err := b.Attach(t.Context(), b.network, container("c1")); err != nil {
		t.Fatal(err)
	}
	corrupt := filepath.Join(b.CacheDir, "results", "corrupt")
	if err := os.WriteFile(corrupt, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.book.take()
	b.fail("a", GC)
	b.fail("b", Del)
	err := b.Collect(t.Context(), b.network, []cni.Attachment{})
	for _, want := range []string{corrupt, "DEL of b is broken", "GC of a is broken"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error does not mention %q:\n%v", want, err)
		}
	}
	want := []string{"DEL c", "DEL b", "DEL a", "GC a", "GC b", "GC c"}
	if diff := cmp.Diff(want, b.book.take()); diff != "" {
		t.Errorf("calls (-want +got)\n%s", diff)
	}
	// What is in use cannot be told with a record unread.
	if err := b.CollectDead(t.Context(), b.network); err == nil || b.book.take() != nil {
		t.Errorf("collected the dead in spite of an unreadable record: %v", err)
	}
}

// While a network is collected nothing else runs on it, and a steady stream of
// attachments does not keep it from being collected.
func TestCollectExcludes(t *testing.T) {
	b := newBench(t, t.TempDir())
	var running, collecting atomic.Int32
	for _, name := range []string{"a", "b", "c"} {
		for _, verb := range []Verb{Add, Del} {
			b.plugins[name].on[verb] = func(context.Context, *cni.Request) error {
				running.Add(1)
				defer running.Add(-1)
				time.Sleep(time.Millisecond)
				if collecting.Load() > 0 {
					t.Errorf("%s while collecting", verb)
				}
				return nil
			}
		}
		b.plugins[name].on[GC] = func(context.Context, *cni.Request) error {
			collecting.Add(1)
			defer collecting.Add(-1)
			time.Sleep(time.Millisecond)
			if running.Load() > 0 {
				t.Error("collecting while others run")
			}
			return nil
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	for _, id := range []string{"c1", "c2", "c3", "c4"} {
		workers.Go(func() {
			for ctx.Err() == nil {
				if _, err := b.Attach(t.Context(), b.network, container(id)); err != nil {
					t.Error(err)
				}
				if err := b.Detach(t.Context(), b.network, container(id)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 10 {
		if err := b.Collect(t.Context(), b.network, nil); err != nil {
			t.Error(err)
		}
	}
	stop()
	workers.Wait()
	// Of two that end at the same moment each may take the other for the one that stays
	// and removes the network's lock. The next one does.
	if err := b.Detach(t.Context(), b.network, container("c1")); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{}, files(t, b.CacheDir)); diff != "" {
		t.Errorf("files left (-want +got)\n%s", diff)
	}
}

// A namespace that is gone, or another one under its path, makes an attachment dead:
// collected, and no obstacle to the next.
func TestDead(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		b := newBench(t, t.TempDir())
		b.OwnNetNS = false
		at := func(id string) Container {
			return Container{ID: id, IfName: "eth0", NetNS: "/run/netns/" + id}
		}
		for _, id := range []string{"living", "gone", "other"} {
			ns, err := netns.NewAt(at(id).NetNS)
			if err != nil {
				t.Fatal(err)
			}
			defer ns.Close() // so that inodes are not used again
			if _, err := b.Attach(t.Context(), b.network, at(id)); err != nil {
				t.Fatal(err)
			}
		}
		for _, id := range []string{"gone", "other"} {
			if err := netns.Remove(at(id).NetNS); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := netns.NewAt(at("other").NetNS); err != nil {
			t.Fatal(err)
		}
		b.book.take()
		b.plugins["a"].on[Del] = func(_ context.Context, r *cni.Request) error {
			if r.NetNS != "" {
				t.Errorf("DEL for %s with the namespace %s, which is not its own", r.ContainerID, r.NetNS)
			}
			return nil
		}
		if _, err := b.Attach(t.Context(), b.network, at("other")); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"DEL c", "DEL b", "DEL a", "ADD a", "ADD b", "ADD c"}, b.book.take()); diff != "" {
			t.Errorf("calls of the second attach (-want +got)\n%s", diff)
		}
		if err := b.CollectDead(t.Context(), b.network); err != nil {
			t.Error(err)
		}
		records, err := b.Attachments()
		if err != nil {
			t.Fatal(err)
		}
		ids := []string{}
		for _, r := range records {
			ids = append(ids, r.ContainerID)
		}
		if !slices.Equal(ids, []string{"living", "other"}) {
			t.Errorf("left are %v, want living and other", ids)
		}
	})
}

// Attachments in another runtime's cache count as living too.
func TestCollectDeadOthers(t *testing.T) {
	ours, theirs := newBench(t, t.TempDir()), newBench(t, t.TempDir())
	if _, err := theirs.Attach(t.Context(), theirs.network, container("theirs")); err != nil {
		t.Fatal(err)
	}
	var told []cni.Attachment
	ours.plugins["a"].on[GC] = func(_ context.Context, r *cni.Request) error { told = r.Valid; return nil }
	if err := ours.CollectDead(t.Context(), ours.network, theirs.CacheDir); err != nil {
		t.Fatal(err)
	}
	want := []cni.Attachment{{Network: "blue", ContainerID: "theirs", IfName: "eth0"}}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("valid (-want +got)\n%s", diff)
	}
}
