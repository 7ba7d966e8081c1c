package netns_test

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/netns/netnstest"
	"golang.org/x/sys/unix"
)

// TestMountAt: a namespace beside its own path, and in the place of another one, however
// often that was mounted.
func TestMountAt(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		first, second := netnstest.NewPod(t, "first"), netnstest.NewPod(t, "second")
		const path = "/run/deep/er/a"
		is := func(want *netns.Namespace) {
			t.Helper()
			got, err := netns.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer got.Close()
			if same, err := got.Same(want); err != nil || !same {
				t.Errorf("it is another one, %v", err)
			}
		}
		if err := first.NS.MountAt(path, false); err != nil {
			t.Fatal(err)
		}
		is(first.NS)
		if err := second.NS.MountAt(path, false); !errors.Is(err, fs.ErrExist) {
			t.Errorf("again: %v, want fs.ErrExist", err)
		}
		is(first.NS)
		if err := unix.Mount(first.Path, path, "none", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := second.NS.MountAt(path, true); err != nil {
				t.Error(err)
			}
			is(second.NS)
		}
		if err := netns.Remove(path); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("something is left: %v", err)
		}
		if err := os.WriteFile(path, nil, 0o444); err != nil {
			t.Fatal(err)
		}
		if err := first.NS.MountAt(path, true); err != nil {
			t.Errorf("on a plain file: %v", err)
		}
		is(first.NS)
		if err := netns.Remove(path); err != nil {
			t.Error(err)
		}
	})
}
