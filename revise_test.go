package seam

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/netns/netnstest"
)

// recorded returns the only record.
func recorded(t *testing.T, rt *Runtime) Record {
	t.Helper()
	records, err := rt.Attachments()
	if err != nil || len(records) != 1 {
		t.Fatalf("%d records, error %v; want one", len(records), err)
	}
	return records[0]
}

// An attachment that was moved lives as long as the namespace where it is now, and is
// checked and detached there.
func TestRevise(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		b := newBench(t, t.TempDir())
		b.OwnNetNS = false
		staging, sandbox := netnstest.NewPod(t, "staging"), "/run/netns/sandbox"
		inside, err := netns.NewAt(sandbox)
		if err != nil {
			t.Fatal(err)
		}
		defer inside.Close()
		b.plugins["c"].on[Add] = func(_ context.Context, r *cni.Request) error {
			r.Prev.Interfaces = []cni.Interface{{Name: "veth1"}, {Name: "eth0", Sandbox: r.NetNS}, {Name: "eth1", Sandbox: "/elsewhere"}}
			r.Prev.Routes = []cni.Route{{Dst: netip.MustParsePrefix("0.0.0.0/0")}, {Dst: netip.MustParsePrefix("10.9.0.0/16")}}
			return nil
		}
		c := Container{ID: "c1", IfName: "eth0", NetNS: staging.Path}
		if _, err := b.Attach(t.Context(), b.network, c); err != nil {
			t.Fatal(err)
		}
		before := recorded(t, b.Runtime)
		err = b.Revise(t.Context(), b.network, c, func(r *Record) {
			r.NetNS, r.Name = sandbox, "web"
			r.Result.Routes = r.Result.Routes[1:]
			r.ContainerID, r.Config, r.Steps, r.File = "other", nil, nil, "/nowhere"
		})
		if err != nil {
			t.Fatal(err)
		}
		after := recorded(t, b.Runtime)
		want := before
		want.NetNS, want.Name, want.Result = sandbox, "web", before.Result.Clone()
		want.Result.Interfaces[1].Sandbox = sandbox
		want.Result.Routes = before.Result.Routes[1:]
		want.pod, _, err = identify(sandbox)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, after, cmp.AllowUnexported(Record{}), cmp.Comparer(same[netip.Addr]), cmp.Comparer(same[netip.Prefix])); diff != "" {
			t.Errorf("record (-want +got)\n%s", diff)
		}

		told := ""
		for _, verb := range []Verb{Check, Del} {
			b.plugins["a"].on[verb] = func(_ context.Context, r *cni.Request) error { told = r.NetNS; return nil }
		}
		if err := b.Check(t.Context(), b.network, Container{ID: "c1", IfName: "eth0"}); err != nil || told != sandbox {
			t.Errorf("checked in %q, error %v; want %s", told, err, sandbox)
		}
		if err := netns.Remove(staging.Path); err != nil {
			t.Fatal(err)
		}
		if err := b.CollectDead(t.Context(), b.network); err != nil {
			t.Error(err)
		}
		if r := recorded(t, b.Runtime); !r.Alive() {
			t.Error("dead when the namespace that it came from is gone")
		}
		if err := netns.Remove(sandbox); err != nil {
			t.Fatal(err)
		}
		if err := b.CollectDead(t.Context(), b.network); err != nil || told != "" {
			t.Errorf("collected in %q, error %v; want no namespace, as it is gone", told, err)
		}
		if diff := cmp.Diff([]string{}, files(t, b.CacheDir)); diff != "" {
			t.Errorf("files left (-want +got)\n%s", diff)
		}
	})
}

func TestReviseDetach(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		b := newBench(t, t.TempDir())
		b.OwnNetNS = false
		staging, sandbox := netnstest.NewPod(t, "staging"), netnstest.NewPod(t, "sandbox")
		c := Container{ID: "c1", IfName: "eth0", NetNS: staging.Path}
		if _, err := b.Attach(t.Context(), b.network, c); err != nil {
			t.Fatal(err)
		}
		if err := b.Revise(t.Context(), b.network, c, func(r *Record) { r.NetNS = sandbox.Path }); err != nil {
			t.Fatal(err)
		}
		c.NetNS = sandbox.Path
		if _, err := b.Attach(t.Context(), b.network, c); cni.CodeOf(err) != cni.CodeExists {
			t.Errorf("attached again: error %v, want one with CodeExists", err)
		}
		if err := b.Detach(t.Context(), b.network, c); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{}, files(t, b.CacheDir)); diff != "" {
			t.Errorf("files left (-want +got)\n%s", diff)
		}
	})
}

func TestReviseRefuses(t *testing.T) {
	b := newBench(t, t.TempDir())
	called := false
	err := b.Revise(t.Context(), b.network, container("c1"), func(*Record) { called = true })
	if !errors.Is(err, fs.ErrNotExist) || called {
		t.Errorf("without a record: called %v, error %v; want fs.ErrNotExist", called, err)
	}
	if _, err := b.Attach(t.Context(), b.network, container("c1")); err != nil {
		t.Fatal(err)
	}
	b.OwnNetNS = false
	before := recorded(t, b.Runtime)
	for _, path := range []string{"", filepath.Join(t.TempDir(), "gone"), "/proc/thread-self/ns/net"} {
		err := b.Revise(t.Context(), b.network, container("c1"), func(r *Record) { r.NetNS, r.Name = path, "web" })
		if err == nil {
			t.Errorf("moved to %q", path)
		}
	}
	if diff := cmp.Diff(before.NetNS+before.Name, recorded(t, b.Runtime).NetNS+recorded(t, b.Runtime).Name); diff != "" {
		t.Errorf("record (-want +got)\n%s", diff)
	}
}

// A process killed while it wrote leaves the old record, and the half one only until
// the next operation.
func TestReviseKilled(t *testing.T) {
	b := newBench(t, t.TempDir())
	if _, err := b.Attach(t.Context(), b.network, container("c1")); err != nil {
		t.Fatal(err)
	}
	scratch := b.recordScratch("c1")
	for _, file := range []string{scratch, b.journalFile("c1")} {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Recover(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(scratch); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half a record is left: %v", err)
	}
}

// The record is found where it was, though the name that stood in its way is free now.
func TestReviseOfOneName(t *testing.T) {
	b := newBench(t, t.TempDir())
	second := parseNetwork(t, `{"cniVersion": "1.1.0", "name": "blue-c1", "plugins": [{"type": "a"}]}`)
	if _, err := b.Attach(t.Context(), b.network, container("c1-c2")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Attach(t.Context(), second, container("c2")); err != nil {
		t.Fatal(err)
	}
	if err := b.Detach(t.Context(), b.network, container("c1-c2")); err != nil {
		t.Fatal(err)
	}
	if err := b.Revise(t.Context(), second, container("c2"), func(r *Record) { r.Name = "web" }); err != nil {
		t.Fatal(err)
	}
	if r := recorded(t, b.Runtime); r.Name != "web" {
		t.Errorf("name %q, want web", r.Name)
	}
}

// What people call a container is recorded, by its runtime or as Kubernetes' arguments.
func TestRecordName(t *testing.T) {
	tests := []struct{ name, args, want string }{
		{"web", "", "web"},
		{"web", "K8S_POD_NAME=web-0", "web"},
		{"", "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0", "shop/web-0"},
		{"", "K8S_POD_NAME=web-0", "web-0"},
		{"", "K8S_POD_NAMESPACE=shop", ""},
		{"", "", ""},
	}
	for _, tt := range tests {
		b := newBench(t, t.TempDir())
		c := container("c1")
		c.Name = tt.name
		var err error
		if c.Args, err = cni.ParseArgs(tt.args); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Attach(t.Context(), b.network, c); err != nil {
			t.Fatal(err)
		}
		if got := recorded(t, b.Runtime).Name; got != tt.want {
			t.Errorf("name %q, arguments %q: recorded %q, want %q", tt.name, tt.args, got, tt.want)
		}
	}
}
