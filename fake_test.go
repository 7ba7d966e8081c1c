package seam

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/seamnet/seam/cni"
)

// notebook is what the plugins of a test write down, in their order.
type notebook struct {
	mu    sync.Mutex
	lines []string
}

func (n *notebook) add(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, fmt.Sprintf(format, args...))
}

// take returns what was written since it was last called.
func (n *notebook) take() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	lines := n.lines
	n.lines = nil
	return lines
}

// scribe is a plugin that does nothing but write down its calls.
type scribe struct {
	name string
	book *notebook
	on   map[Verb]func(context.Context, *cni.Request) error // what else it does
}

func (s *scribe) call(ctx context.Context, verb Verb, r *cni.Request) error {
	s.book.add("%s %s", verb, s.name)
	if do := s.on[verb]; do != nil {
		return do(ctx, r)
	}
	return nil
}

func (s *scribe) Add(ctx context.Context, r *cni.Request) (*cni.Result, error) {
	if err := s.call(ctx, Add, r); err != nil {
		return nil, err
	}
	result := r.Prev.Clone()
	result.IPs = append(result.IPs, cni.IP{Address: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(len(result.IPs) + 1)}), 24)})
	return result, nil
}

func (s *scribe) Check(ctx context.Context, r *cni.Request) error  { return s.call(ctx, Check, r) }
func (s *scribe) Del(ctx context.Context, r *cni.Request) error    { return s.call(ctx, Del, r) }
func (s *scribe) GC(ctx context.Context, r *cni.Request) error     { return s.call(ctx, GC, r) }
func (s *scribe) Status(ctx context.Context, r *cni.Request) error { return s.call(ctx, Status, r) }

// bench is a runtime with three such plugins, a, b and c, and a network of them. The
// containers' namespace is the test's own, so that no root is needed.
type bench struct {
	*Runtime
	book    *notebook
	plugins map[string]*scribe
	network *Network
}

func newBench(t testing.TB, cacheDir string) *bench {
	t.Helper()
	b := &bench{book: &notebook{}, plugins: make(map[string]*scribe)}
	registry := cni.Registry{}
	for _, name := range []string{"a", "b", "c"} {
		b.plugins[name] = &scribe{name, b.book, make(map[Verb]func(context.Context, *cni.Request) error)}
		registry[name] = b.plugins[name]
	}
	b.Runtime = &Runtime{Plugins: registry, CacheDir: cacheDir, OwnNetNS: true}
	b.network = parseNetwork(t, `{"cniVersion": "1.1.0", "name": "blue", "plugins": [{"type": "a"}, {"type": "b"}, {"type": "c"}]}`)
	return b
}

func parseNetwork(t testing.TB, raw string) *Network {
	t.Helper()
	n, err := Parse([]byte(raw), "")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// fail makes a plugin fail with a plain error.
func (b *bench) fail(name string, verb Verb) {
	b.plugins[name].on[verb] = func(context.Context, *cni.Request) error {
		return fmt.Errorf("%s of %s is broken", verb, name)
	}
}

func ownNS() string { return fmt.Sprintf("/proc/%d/ns/net", os.Getpid()) }

func container(id string) Container {
	return Container{ID: id, IfName: "eth0", NetNS: ownNS()}
}

// files lists the files below dir.
func files(t testing.TB, dir string) []string {
	t.Helper()
	list := []string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(dir, path)
			list = append(list, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

func raw(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// same compares what cmp cannot look into.
func same[T comparable](a, b T) bool { return a == b }

// silent is a plugin that does nothing.
type silent struct{}

func (silent) Add(_ context.Context, r *cni.Request) (*cni.Result, error) { return r.Prev.Clone(), nil }
func (silent) Check(context.Context, *cni.Request) error                  { return nil }
func (silent) Del(context.Context, *cni.Request) error                    { return nil }
func (silent) GC(context.Context, *cni.Request) error                     { return nil }
func (silent) Status(context.Context, *cni.Request) error                 { return nil }
