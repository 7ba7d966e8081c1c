package seam

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// lock is a held lock: a file whose bytes are locked by an open file description,
// so that it excludes goroutines as well as processes and ends with its process,
// however that ends.
//
// The file is removed by its last user, while locked. Who waited for it meanwhile
// holds a lock on a file without a name, notices, and starts again.
type lock struct {
	file   *os.File
	path   string
	shared bool
}

// The lock proper is on one byte. The byte before it is a gate that everybody
// passes on the way in, and that an exclusive user keeps shut: else a steady stream
// of shared users could keep it waiting for ever.
const (
	gateByte = 0
	lockByte = 1
)

var (
	errBusy = errors.New("locked by another operation")

	// errReplaced: who tries once takes this for busy, as someone is at work there.
	errReplaced = fmt.Errorf("%w that removed the file", errBusy)
)

// lockFile locks the file at path, waiting as long as ctx allows. The file and its
// folder are made when missing.
func lockFile(ctx context.Context, path string, shared bool) (*lock, error) {
	for {
		f, err := openLock(path, os.O_CREATE)
		if err != nil {
			return nil, err
		}
		l := &lock{file: f, path: path, shared: shared}
		err = l.take(func(step func() error) error { return insist(ctx, step) })
		if err == nil {
			return l, nil
		}
		f.Close()
		if !errors.Is(err, errReplaced) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
	}
}

// tryLockFile is lockFile without waiting: an error that matches errBusy means that
// the lock is taken. With create 0, a missing file is an error that matches
// fs.ErrNotExist; with os.O_CREATE it is made.
func tryLockFile(path string, shared bool, create int) (*lock, error) {
	f, err := openLock(path, create)
	if err != nil {
		return nil, err
	}
	l := &lock{file: f, path: path, shared: shared}
	if err := l.take(func(step func() error) error { return step() }); err != nil {
		f.Close()
		return nil, err
	}
	return l, nil
}

// insist repeats step until it is not busy or ctx ends. Waiting in the kernel
// instead could not be ended by ctx.
func insist(ctx context.Context, step func() error) error {
	const shortest, longest = 50 * time.Microsecond, 10 * time.Millisecond
	for delay := shortest; ; delay = min(2*delay, longest) {
		if err := step(); !errors.Is(err, errBusy) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", errBusy, context.Cause(ctx))
		case <-time.After(delay):
		}
	}
}

func openLock(path string, create int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|create, 0o600)
	if create != 0 && errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, err
		}
		f, err = os.OpenFile(path, os.O_RDWR|os.O_APPEND|create, 0o600)
	}
	return f, err
}

// take takes the lock, each of its steps through do, which may repeat them.
func (l *lock) take(do func(step func() error) error) error {
	kind := int16(unix.F_WRLCK)
	if l.shared {
		kind = unix.F_RDLCK
	}
	for _, at := range []int64{gateByte, lockByte} {
		if err := do(func() error { return l.set(at, kind) }); err != nil {
			return err
		}
	}
	if l.shared {
		if err := l.set(gateByte, unix.F_UNLCK); err != nil {
			return err
		}
	}
	return l.named()
}

// named returns errReplaced if the file was removed, or replaced, since it was
// opened.
func (l *lock) named() error {
	mine, err := l.file.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(l.path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(mine, there) {
		return errReplaced
	}
	return err
}

func (l *lock) set(at int64, kind int16) error {
	err := unix.FcntlFlock(l.file.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Start: at, Len: 1})
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return errBusy
	}
	if err != nil {
		return &fs.PathError{Op: "lock", Path: l.path, Err: err}
	}
	return nil
}

// release lets go of the lock and leaves its file.
func (l *lock) release() { l.file.Close() }

// remove lets go of the lock and removes its file, unless others share it. Should
// that fail the file is at least empty: what it says would be taken for unfinished.
func (l *lock) remove() error {
	defer l.file.Close()
	if l.shared && (l.set(gateByte, unix.F_WRLCK) != nil || l.set(lockByte, unix.F_WRLCK) != nil) {
		return nil // whoever shares it removes it; of two at the same moment neither may, but the next one does
	}
	if err := os.Remove(l.path); err != nil {
		return errors.Join(err, l.file.Truncate(0))
	}
	return nil
}
