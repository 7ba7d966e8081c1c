package seam

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
)

// Many take and remove the same lock: never two at once, and no file is left.
func TestLockRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "made", "lock")
	var exclusive, shared atomic.Int32
	var workers sync.WaitGroup
	for i := range 8 {
		workers.Go(func() {
			for range 200 {
				l, err := lockFile(t.Context(), path, i%2 == 0)
				if err != nil {
					t.Error(err)
					return
				}
				if l.shared {
					shared.Add(1)
				} else if exclusive.Add(1) > 1 || shared.Load() > 0 {
					t.Error("not alone with an exclusive lock")
				}
				if exclusive.Load() > 0 && shared.Load() > 0 {
					t.Error("shared and exclusive at once")
				}
				if l.shared {
					shared.Add(-1)
				} else {
					exclusive.Add(-1)
				}
				if err := l.remove(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	workers.Wait()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("lock file: %v, want that it does not exist", err)
	}
}

func TestLockWaitEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := lockFile(t.Context(), path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer l.remove()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	for _, shared := range []bool{true, false} {
		if _, err := lockFile(ctx, path, shared); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("shared %v: error %v, want that the time is up", shared, err)
		}
	}
	if _, err := tryLockFile(path, false, 0); !errors.Is(err, errBusy) {
		t.Errorf("error %v, want errBusy", err)
	}
}

// Who waits to be alone lets nobody pass.
func TestLockGate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := lockFile(t.Context(), path, true)
	if err != nil {
		t.Fatal(err)
	}
	alone := make(chan error)
	go func() {
		l, err := lockFile(t.Context(), path, false)
		if err == nil {
			err = l.remove()
		}
		alone <- err
	}()
	for end := time.Now().Add(10 * time.Second); err == nil && time.Now().Before(end); { // until the other waits
		var l *lock
		if l, err = tryLockFile(path, true, 0); err == nil {
			l.release()
		}
	}
	if !errors.Is(err, errBusy) {
		t.Errorf("error %v, want errBusy", err)
	}
	first.release()
	if err := <-alone; err != nil {
		t.Error(err)
	}
}

// Operations on one container never overlap, whatever their networks and
// interfaces; those on others do not wait for it.
func TestOneOperationAContainer(t *testing.T) {
	b := newBench(t, t.TempDir())
	held, proceed := make(chan bool), make(chan bool)
	b.plugins["a"].on[Add] = func(_ context.Context, r *cni.Request) error {
		if r.ContainerID == "slow" && r.IfName == "eth0" {
			close(held)
			<-proceed
		}
		return nil
	}
	done := make(chan error)
	go func() {
		_, err := b.Attach(t.Context(), b.network, container("slow"))
		done <- err
	}()
	<-held
	if _, err := b.Attach(t.Context(), b.network, container("quick")); err != nil {
		t.Error(err)
	}
	second := container("slow")
	second.IfName = "eth1"
	red := *b.network
	red.Name = "red"
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := b.Attach(ctx, &red, second); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("second operation on the container: %v, want that it waited", err)
	}
	close(proceed)
	if err := <-done; err != nil {
		t.Error(err)
	}
	b.book.take()
	for _, undo := range []Container{container("slow"), container("quick")} {
		if err := b.Detach(t.Context(), b.network, undo); err != nil {
			t.Error(err)
		}
	}
	if err := b.Collect(t.Context(), &red, nil); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{}, files(t, b.CacheDir)); diff != "" {
		t.Errorf("files left (-want +got)\n%s", diff)
	}
}

// One of several that attach the same at once wins, the others are refused.
func TestAttachRace(t *testing.T) {
	b := newBench(t, t.TempDir())
	var won, refused atomic.Int32
	var workers sync.WaitGroup
	for range 16 {
		workers.Go(func() {
			switch _, err := b.Attach(t.Context(), b.network, container("c1")); {
			case err == nil:
				won.Add(1)
			case cni.CodeOf(err) == cni.CodeExists:
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	workers.Wait()
	if won.Load() != 1 || refused.Load() != 15 {
		t.Errorf("%d attached and %d were refused, want 1 and 15", won.Load(), refused.Load())
	}
	if diff := cmp.Diff([]string{"ADD a", "ADD b", "ADD c"}, b.book.take()); diff != "" {
		t.Errorf("calls (-want +got)\n%s", diff)
	}
}
