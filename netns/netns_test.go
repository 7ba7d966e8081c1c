package netns_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/netns/netnstest"
)

func TestLife(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		const path = "/run/netns/a"
		ns, err := netns.NewAt(path)
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		if _, err := netns.NewAt(path); !errors.Is(err, fs.ErrExist) {
			t.Errorf("make it twice: %v, want fs.ErrExist", err)
		}
		again, err := netns.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		here, err := netns.Current()
		if err != nil {
			t.Fatal(err)
		}
		defer here.Close()
		if same, err := ns.Same(again); err != nil || !same {
			t.Errorf("opened twice: same %t, %v", same, err)
		}
		if same, err := ns.Same(here); err != nil || same {
			t.Errorf("it and ours: same %t, %v", same, err)
		}
		for range 2 {
			if err := netns.Remove(path); err != nil {
				t.Error(err)
			}
		}
		if _, err := netns.Open(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("open what is gone: %v, want fs.ErrNotExist", err)
		}
	})
}

func TestOpenWhatIsNone(t *testing.T) {
	plain := t.TempDir() + "/plain"
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{plain, "/proc/self/ns/mnt", "/nowhere", "/proc"} {
		if ns, err := netns.Open(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v, want fs.ErrNotExist", path, err)
			if ns != nil {
				ns.Close()
			}
		}
	}
}

// TestDo: what runs inside sees the namespace, all else does not, however many
// threads come and go.
func TestDo(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		pod := netnstest.NewPod(t, "a")
		outside, err := netns.Current()
		if err != nil {
			t.Fatal(err)
		}
		defer outside.Close()
		var wait sync.WaitGroup
		for range 50 {
			wait.Go(func() {
				err := pod.NS.Do(func() error {
					inside, err := netns.Current()
					if err != nil {
						return err
					}
					defer inside.Close()
					if same, err := inside.Same(pod.NS); err != nil || !same {
						return errors.New("not inside")
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
			wait.Go(func() {
				here, err := netns.Current()
				if err != nil {
					t.Error(err)
					return
				}
				defer here.Close()
				if same, _ := here.Same(outside); !same {
					t.Error("a thread was left inside")
				}
			})
		}
		wait.Wait()
		failure := errors.New("of the function")
		if err := pod.NS.Do(func() error { return failure }); err != failure {
			t.Errorf("got %v, want the function's own error", err)
		}
		var l net.Listener
		if err := pod.NS.Do(func() (err error) { l, err = net.Listen("tcp", "127.0.0.1:0"); return err }); err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
			c.Close()
			t.Error("a socket that was opened inside is reached from outside")
		}
	})
}

// TestThreadsStayOutside: no thread is left in a namespace, which would keep it, and what
// is in it, for as long as the process lives.
func TestThreadsStayOutside(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				ns, err := netns.New()
				if err != nil {
					t.Error(err)
					return
				}
				defer ns.Close()
				if err := ns.Do(func() error { return nil }); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		threads, err := filepath.Glob("/proc/self/task/*/ns/net")
		if err != nil || len(threads) == 0 {
			t.Fatalf("no threads: %v", err)
		}
		here, err := os.Readlink("/proc/thread-self/ns/net")
		if err != nil {
			t.Fatal(err)
		}
		for _, thread := range threads {
			there, err := os.Readlink(thread)
			if err == nil && there != here {
				t.Errorf("%s: %s, not %s", thread, there, here)
			}
		}
	})
}
