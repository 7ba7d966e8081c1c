package wire

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func TestListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plugins", "seam.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("mode %v, want %v", st.Mode(), fs.ModeSocket|0o600)
	}
	if _, err := Listen(path); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "another process serves it") {
		t.Errorf("a second listener: %v", err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("after the second listener: %v", err)
	}
	c.Close()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket after Close: %v", err)
	}
}

// stale leaves a socket at path that nobody listens on.
func stale(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Fatal(err)
	}
}

func TestListenReplacesStaleSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seam.sock")
	stale(t, path)
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

// TestListenRace: of many who find a stale socket one replaces it, and keeps it.
func TestListenRace(t *testing.T) {
	dir := t.TempDir()
	for round := range 50 {
		path := filepath.Join(dir, fmt.Sprintf("%d.sock", round))
		stale(t, path)
		var served atomic.Int32
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				l, err := Listen(path)
				switch {
				case err == nil:
					served.Add(1)
					t.Cleanup(func() { l.Close() })
				case !errors.Is(err, fs.ErrExist):
					t.Error(err)
				}
			})
		}
		all.Wait()
		if served.Load() != 1 {
			t.Fatalf("%d listen, want 1", served.Load())
		}
	}
}

func TestListenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file.sock")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, path, want string }{
		{"file", file, "is no socket"},
		{"folder", dir, "is no socket"},
		{"below a file", filepath.Join(file, "x.sock"), "not a directory"},
		{"long path", filepath.Join(dir, strings.Repeat("x", 200)), "longer than 107 bytes"},
	} {
		if _, err := Listen(test.path); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "mine" {
		t.Errorf("the file: %q %v", data, err)
	}
}
