package state_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/state"
)

// TestLockExcludes: of those who lock a folder, one at a time is inside.
func TestLockExcludes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made")
	const lockers, turns = 8, 50
	var all sync.WaitGroup
	var inside atomic.Int32
	for range lockers {
		all.Go(func() {
			for range turns {
				unlock, err := state.Lock(t.Context(), dir)
				if err != nil {
					t.Error(err)
					return
				}
				if n := inside.Add(1); n != 1 {
					t.Errorf("%d are inside", n)
				}
				time.Sleep(time.Microsecond)
				inside.Add(-1)
				unlock()
			}
		})
	}
	all.Wait()
}

// TestLockIsBounded: who cannot get the lock in time says so, and gets it afterwards.
func TestLockIsBounded(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Open(dir)
	must(t, err)
	defer f.Close()
	locks := map[string]func(context.Context) (func(), error){
		"folder": func(ctx context.Context) (func(), error) { return state.Lock(ctx, dir) },
		"file":   func(ctx context.Context) (func(), error) { return state.LockFD(ctx, int(f.Fd()), dir) },
	}
	for name, lock := range locks {
		unlock, err := state.TryLock(dir)
		must(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		_, err = lock(ctx)
		cancel()
		want := "lock " + dir + ": another process holds it: context deadline exceeded; see who: lslocks"
		if cni.CodeOf(err) != cni.CodeTryAgain || !errors.Is(err, state.ErrLocked) || !errors.Is(err, context.DeadlineExceeded) || err.Error() != want {
			t.Errorf("%s: %v, code %d; want %q, code %d", name, err, cni.CodeOf(err), want, cni.CodeTryAgain)
		}
		if _, err := state.TryLock(dir); !errors.Is(err, state.ErrLocked) {
			t.Errorf("%s: without waiting: %v, want ErrLocked", name, err)
		}
		time.AfterFunc(5*time.Millisecond, unlock)
		for _, ctx := range []context.Context{t.Context(), ctx} { // one that is over forbids only to wait
			unlock, err := lock(ctx)
			if err != nil {
				t.Fatalf("%s: afterwards: %v", name, err)
			}
			unlock()
		}
	}
}

func TestLockWhatCannotBe(t *testing.T) {
	if _, err := state.LockFD(t.Context(), -1, "it"); err == nil || err.Error() != "lock it: bad file descriptor" {
		t.Errorf("no file: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	if _, err := state.Lock(t.Context(), file+"/below"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("below a file: %v", err)
	}
}
