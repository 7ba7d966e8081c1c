package seam

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
)

func TestAttachDetachOrder(t *testing.T) {
	b := newBench(t, t.TempDir())
	var prev []int
	for _, name := range []string{"a", "b", "c"} {
		for _, verb := range []Verb{Add, Check, Del} {
			b.plugins[name].on[verb] = func(_ context.Context, r *cni.Request) error {
				addresses := -1
				if r.Prev != nil {
					addresses = len(r.Prev.IPs)
				}
				prev = append(prev, addresses)
				return nil
			}
		}
	}
	result, err := b.Attach(t.Context(), b.network, container("c1"))
	if err != nil {
		t.Fatal(err)
	}
	if len(result.IPs) != 3 {
		t.Errorf("result has %d addresses, want those of 3 plugins", len(result.IPs))
	}
	if err := b.Check(t.Context(), b.network, container("c1")); err != nil {
		t.Fatal(err)
	}
	if err := b.Detach(t.Context(), b.network, container("c1")); err != nil {
		t.Fatal(err)
	}
	want := []string{"ADD a", "ADD b", "ADD c", "CHECK a", "CHECK b", "CHECK c", "DEL c", "DEL b", "DEL a"}
	if diff := cmp.Diff(want, b.book.take()); diff != "" {
		t.Errorf("calls (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]int{-1, 1, 2, 3, 3, 3, 3, 3, 3}, prev); diff != "" {
		t.Errorf("addresses in prevResult (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{}, files(t, b.CacheDir)); diff != "" {
		t.Errorf("files left (-want +got)\n%s", diff)
	}
}

func TestAttachRollsBack(t *testing.T) {
	exists := cni.Errorf(cni.CodeExists, "link eth0 is there already")
	tests := []struct {
		name   string
		plugin string
		err    error
		want   []string
		code   cni.Code
	}{
		{"first", "a", errors.New("broken"), []string{"ADD a", "DEL a"}, cni.CodeInternal},
		{"second", "b", errors.New("broken"), []string{"ADD a", "ADD b", "DEL b", "DEL a"}, cni.CodeInternal},
		{"last, with a code", "c", cni.Errorf(cni.CodeTryAgain, "full"), []string{"ADD a", "ADD b", "ADD c", "DEL c", "DEL b", "DEL a"}, cni.CodeTryAgain},
		{"refused by the first", "a", exists, []string{"ADD a"}, cni.CodeExists},
		{"refused by the second", "b", exists, []string{"ADD a", "ADD b", "DEL a"}, cni.CodeExists},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, t.TempDir())
			ctx, cancel := context.WithCancel(t.Context())
			b.plugins[tt.plugin].on[Add] = func(context.Context, *cni.Request) error {
				cancel() // rolling back must not depend on the caller's time
				return tt.err
			}
			_, err := b.Attach(ctx, b.network, container("c1"))
			if !errors.Is(err, tt.err) || cni.CodeOf(err) != tt.code {
				t.Errorf("error %v with code %d, want %v with %d", err, cni.CodeOf(err), tt.err, tt.code)
			}
			if diff := cmp.Diff(tt.want, b.book.take()); diff != "" {
				t.Errorf("calls (-want +got)\n%s", diff)
			}
			for _, file := range files(t, b.CacheDir) {
				if !strings.HasPrefix(file, "seam/networks/") {
					t.Errorf("left: %s", file)
				}
			}
		})
	}
}

func TestAttachCancelledBetweenPlugins(t *testing.T) {
	b := newBench(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	b.plugins["b"].on[Add] = func(context.Context, *cni.Request) error { cancel(); return nil }
	if _, err := b.Attach(ctx, b.network, container("c1")); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context canceled", err)
	}
	if diff := cmp.Diff([]string{"ADD a", "ADD b", "DEL b", "DEL a"}, b.book.take()); diff != "" {
		t.Errorf("calls (-want +got)\n%s", diff)
	}
}

// What cannot be undone as the network was configured then is undone as it is configured
// now, by whichever operation on the network comes first.
func TestUndoneAsConfiguredNow(t *testing.T) {
	for name, next := range map[string]func(*bench) error{
		"Attach":  func(b *bench) error { _, err := b.Attach(t.Context(), b.network, container("c1")); return err },
		"Detach":  func(b *bench) error { return b.Detach(t.Context(), b.network, container("c1")) },
		"Collect": func(b *bench) error { return b.Collect(t.Context(), b.network, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, t.TempDir())
			needs := func(_ context.Context, r *cni.Request) error {
				if strings.Contains(string(r.Config.JSON), "tpyo") {
					return cni.Errorf(cni.CodeInvalidConfig, "tpyo is not there")
				}
				return nil
			}
			b.plugins["b"].on[Add], b.plugins["b"].on[Del] = needs, needs
			mistaken := parseNetwork(t, `{"cniVersion":"1.1.0","name":"blue","plugins":[{"type":"a"},{"type":"b","x":"tpyo"}]}`)
			if _, err := b.Attach(t.Context(), mistaken, container("c1")); err == nil {
				t.Fatal("no error")
			}
			if err := b.Collect(t.Context(), mistaken, nil); err == nil || !strings.Contains(err.Error(), "remove the file") {
				t.Errorf("Collect, as configured then: %v", err)
			}
			b.book.take()
			if err := next(b); err != nil {
				t.Fatal(err)
			}
			if calls := b.book.take(); !slices.Contains(calls, "DEL c") {
				t.Errorf("calls: %v, want the DEL of what is configured now", calls)
			}
			if left, _ := filepath.Glob(b.journalDir() + "/*" + failedSuffix); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// An Add that touched nothing is not undone, nor are the plugins after it; those before are.
func TestAttachUntouched(t *testing.T) {
	b := newBench(t, t.TempDir())
	b.plugins["b"].on[Add] = func(context.Context, *cni.Request) error {
		return cni.Untouched(errors.New("its IPAM plugin is not there"))
	}
	b.fail("b", Del)
	if _, err := b.Attach(t.Context(), b.network, container("c1")); err == nil || strings.Contains(err.Error(), "roll back") {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"ADD a", "ADD b", "DEL a"}, b.book.take()); diff != "" {
		t.Errorf("calls (-want +got)\n%s", diff)
	}
	if left, _ := filepath.Glob(b.journalDir() + "/*"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// What cannot be rolled back is kept and tried again: by Recover, by Collect, and by
// the next Attach of the same, but not by operations on others.
func TestAttachRollBackFails(t *testing.T) {
	b := newBench(t, t.TempDir())
	b.fail("b", Add)
	b.fail("a", Del)
	_, err := b.Attach(t.Context(), b.network, container("c1"))
	if err == nil || !strings.Contains(err.Error(), "ADD of b is broken") || !strings.Contains(err.Error(), "DEL of a is broken") {
		t.Fatalf("error %v, want both causes", err)
	}
	b.book.take()
	delete(b.plugins["b"].on, Add)
	other := container("c1")
	other.IfName = "eth1"
	if _, err := b.Attach(t.Context(), b.network, other); err != nil {
		t.Errorf("another interface of the container: %v", err)
	}
	if diff := cmp.Diff([]string{"ADD a", "ADD b", "ADD c"}, b.book.take()); diff != "" {
		t.Errorf("calls (-want +got)\n%s", diff)
	}
	delete(b.plugins["a"].on, Del)
	if err := b.Detach(t.Context(), b.network, container("c1")); err != nil {
		t.Error(err)
	}
	if err := b.Detach(t.Context(), b.network, other); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{}, files(t, b.CacheDir)); diff != "" {
		t.Errorf("files left by Detach (-want +got)\n%s", diff)
	}
	b.fail("b", Add)
	b.fail("a", Del)
	if _, err = b.Attach(t.Context(), b.network, container("c1")); err == nil {
		t.Error("no error")
	}
	delete(b.plugins["b"].on, Add)
	for name, again := range map[string]func() error{
		"Recover": func() error { return b.Recover(t.Context()) },
		"Collect": func() error { return b.Collect(t.Context(), b.network, nil) },
		"Attach":  func() error { _, err := b.Attach(t.Context(), b.network, container("c1")); return err },
	} {
		if err := again(); err == nil || !strings.Contains(err.Error(), "DEL of a is broken") {
			t.Errorf("%s: error %v, want that DEL of a is broken", name, err)
		}
	}
	delete(b.plugins["a"].on, Del)
	b.book.take()
	if err := b.Recover(t.Context()); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"DEL c", "DEL b", "DEL a"}, b.book.take()); diff != "" {
		t.Errorf("calls (-want +got)\n%s", diff)
	}
	if _, err := b.Attach(t.Context(), b.network, container("c1")); err != nil {
		t.Error(err)
	}
}

func TestAttachRefuses(t *testing.T) {
	with := func(change func(*Container)) Container {
		c := container("c1")
		change(&c)
		return c
	}
	const list = `{"cniVersion": "1.1.0", "name": "blue", "plugins": [{"type": "a"}]}`
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name      string
		list      string
		container Container
		own       bool
		code      cni.Code
		says      string
	}{
		{"no ID", list, with(func(c *Container) { c.ID = "" }), true, 4, "container ID"},
		{"bad ID", list, with(func(c *Container) { c.ID = "a/b" }), true, 4, "a/b"},
		{"long interface", list, with(func(c *Container) { c.IfName = "abcdefghijklmnop" }), true, 4, "abcdefghijklmnop"},
		{"no interface", list, with(func(c *Container) { c.IfName = "" }), true, 4, "interface"},
		{"bad capability", list, with(func(c *Container) { c.Capabilities = map[string]json.RawMessage{"mac": raw("x")[:2]} }), true, 4, "mac"},
		{"empty capability", list, with(func(c *Container) { c.Capabilities = map[string]json.RawMessage{"mac": nil} }), true, 4, "mac"},
		{"no namespace", list, with(func(c *Container) { c.NetNS = "" }), true, 4, "namespace"},
		{"namespace missing", list, with(func(c *Container) { c.NetNS = "/run/netns/missing" }), true, 8, "/run/netns/missing"},
		{"plain file", list, with(func(c *Container) { c.NetNS = plain }), true, 8, plain},
		{"another kind of namespace", list, with(func(c *Container) { c.NetNS = "/proc/self/ns/mnt" }), true, 8, "/proc/self/ns/mnt"},
		{"own namespace", list, container("c1"), false, 8, "own"},
		{"bad network name", strings.Replace(list, "blue", "../blue", 1), container("c1"), true, 7, "../blue"},
		{"unknown version", strings.Replace(list, "1.1.0", "9.9.9", 1), container("c1"), true, 1, "9.9.9"},
		{"plugin missing", strings.Replace(list, `{"type": "a"}`, `{"type": "a"}, {"type": "zzz"}`, 1), container("c1"), true, 7, "zzz"},
		{"no plugins", `{"name": "blue"}`, container("c1"), true, 7, "no plugins"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, filepath.Join(t.TempDir(), "cache"))
			b.OwnNetNS = tt.own
			_, err := b.Attach(t.Context(), parseNetwork(t, tt.list), tt.container)
			if cni.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %v with code %d, want code %d and %q", err, cni.CodeOf(err), tt.code, tt.says)
			}
			if calls := b.book.take(); calls != nil {
				t.Errorf("plugins were called: %v", calls)
			}
			if _, err := os.Stat(b.CacheDir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the cache folder was touched: %v", err)
			}
		})
	}
}

func TestAttachTwice(t *testing.T) {
	b := newBench(t, t.TempDir())
	if _, err := b.Attach(t.Context(), b.network, container("c1")); err != nil {
		t.Fatal(err)
	}
	before := files(t, b.CacheDir)
	b.book.take()
	if _, err := b.Attach(t.Context(), b.network, container("c1")); cni.CodeOf(err) != cni.CodeExists {
		t.Errorf("error %v, want one with CodeExists", err)
	}
	if calls := b.book.take(); calls != nil {
		t.Errorf("plugins were called: %v", calls)
	}
	if diff := cmp.Diff(before, files(t, b.CacheDir)); diff != "" {
		t.Errorf("files (-before +after)\n%s", diff)
	}
}

// A result that the network's version has no form for cannot be recorded.
func TestAttachUnrecordable(t *testing.T) {
	b := newBench(t, t.TempDir())
	b.Plugins = cni.Registry{"a": noAddress{b.plugins["a"]}}
	n := parseNetwork(t, `{"cniVersion": "0.2.0", "name": "blue", "plugins": [{"type": "a"}]}`)
	if _, err := b.Attach(t.Context(), n, container("c1")); err == nil {
		t.Error("no error")
	}
	if diff := cmp.Diff([]string{"ADD a", "DEL a"}, b.book.take()); diff != "" {
		t.Errorf("calls (-want +got)\n%s", diff)
	}
}

type noAddress struct{ *scribe }

func (p noAddress) Add(ctx context.Context, r *cni.Request) (*cni.Result, error) {
	return &cni.Result{}, p.call(ctx, Add, r)
}

func TestTimeout(t *testing.T) {
	b := newBench(t, t.TempDir())
	b.Timeout = 20 * time.Millisecond
	b.plugins["b"].on[Add] = func(ctx context.Context, _ *cni.Request) error { <-ctx.Done(); return ctx.Err() }
	_, err := b.Attach(t.Context(), b.network, container("c1"))
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "plugin 2, b: stopped after 20ms") {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff([]string{"ADD a", "ADD b", "DEL b", "DEL a"}, b.book.take()); diff != "" {
		t.Errorf("calls (-want +got)\n%s", diff)
	}
}

func TestConfigOfPlugins(t *testing.T) {
	b := newBench(t, t.TempDir())
	n := parseNetwork(t, `{"cniVersion": "1.0.0", "name": "blue", "plugins": [
		{"type": "a", "name": "own", "big": 12345678901234567890, "capabilities": {"mac": true, "ips": false, "dns": true}},
		{"type": "b", "runtimeConfig": {"kept": 1}, "capabilities": {"ips": false}}]}`)
	got := make(map[string]string)
	for _, name := range []string{"a", "b"} {
		b.plugins[name].on[Add] = func(_ context.Context, r *cni.Request) error { got[name] = string(r.Config.JSON); return nil }
	}
	c := container("c1")
	c.Capabilities = map[string]json.RawMessage{"mac": raw("02:00:00:00:00:01"), "ips": raw([]string{"10.0.0.1"})}
	if _, err := b.Attach(t.Context(), n, c); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"a": `{"big":12345678901234567890,"name":"blue","type":"a","runtimeConfig":{"mac":"02:00:00:00:00:01"},"cniVersion":"1.0.0"}`,
		"b": `{"runtimeConfig":{"kept":1},"type":"b","name":"blue","cniVersion":"1.0.0"}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("configurations (-want +got)\n%s", diff)
	}
}
