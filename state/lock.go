package state

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/seamnet/seam/cni"
	"golang.org/x/sys/unix"
)

// ErrLocked is of a lock that another process, or another call in this one, holds.
var ErrLocked = errors.New("another process holds it")

// Lock locks a folder, which is made for root alone when missing. It waits as long as ctx
// allows: then the error has cni.CodeTryAgain, matches ErrLocked and says where to look.
// The lock ends with unlock, or with the process.
func Lock(ctx context.Context, dir string) (unlock func(), err error) {
	return lock(dir, func(fd int) error { return wait(ctx, fd, dir) })
}

// TryLock is Lock without waiting.
func TryLock(dir string) (unlock func(), err error) {
	return lock(dir, func(fd int) error { return try(fd, dir) })
}

// LockFD is Lock for a file that is open already, name being what errors call it. The lock
// ends with unlock, or with the file.
func LockFD(ctx context.Context, fd int, name string) (unlock func(), err error) {
	if err := wait(ctx, fd, name); err != nil {
		return nil, err
	}
	return func() { _ = unix.Flock(fd, unix.LOCK_UN) }, nil
}

func lock(dir string, take func(fd int) error) (unlock func(), err error) {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		f, err = os.Open(dir)
	}
	if err != nil {
		return nil, err
	}
	if err := take(int(f.Fd())); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// Most hold a lock for less than a millisecond.
const (
	shortestWait = 50 * time.Microsecond
	longestWait  = 2 * time.Millisecond
)

// wait tries again and again, as flock(2) itself cannot be called off.
func wait(ctx context.Context, fd int, name string) error {
	for pause := shortestWait; ; pause = min(2*pause, longestWait) {
		err := try(fd, name)
		if !errors.Is(err, ErrLocked) {
			return err
		}
		select {
		case <-ctx.Done():
			err = fmt.Errorf("%w: %w", err, context.Cause(ctx))
			return cni.Errorf(cni.CodeTryAgain, "%w", err).WithDetails("see who: lslocks")
		case <-time.After(pause):
		}
	}
}

func try(fd int, name string) error {
	for {
		err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		switch err {
		case nil:
			return nil
		case unix.EINTR:
			continue
		case unix.EWOULDBLOCK:
			err = ErrLocked
		}
		return &fs.PathError{Op: "lock", Path: name, Err: err}
	}
}
