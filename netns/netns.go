// Package netns opens, makes and enters network namespaces. It is the only
// package that moves threads between namespaces.
//
// Most work needs no move: a netlink socket stays in the namespace where it was
// opened (package link). Do is for what the kernel ties to the calling thread:
// files below /proc/sys/net, and sockets to be opened.
//
// To see what holds a namespace open: lsns -t net, and ls -l /proc/*/fd.
package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// A Namespace is an open network namespace. It stays alive until it is closed,
// even if its path goes away.
type Namespace struct {
	file *os.File
}

// Open opens the namespace at path: a bind mount such as /run/netns/NAME, or
// /proc/PID/ns/net. For a path that is not there, or is a namespace's mount point
// with nothing mounted, the error matches fs.ErrNotExist.
func Open(path string) (*Namespace, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("network namespace: %w", err)
	}
	if err := isNetNS(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("network namespace %s: %w", path, err)
	}
	return &Namespace{f}, nil
}

// errNotNS matches fs.ErrNotExist: an unmounted /run/netns/NAME leaves a plain file behind.
var errNotNS = fmt.Errorf("not a network namespace: %w", fs.ErrNotExist)

func isNetNS(f *os.File) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return err
	}
	if st.Type != unix.NSFS_MAGIC {
		return errNotNS
	}
	kind, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_NSTYPE)
	if err != nil {
		return err
	}
	if kind != unix.CLONE_NEWNET {
		return errNotNS
	}
	return nil
}

// Current opens the calling thread's namespace.
func Current() (*Namespace, error) { return Open("/proc/thread-self/ns/net") }

// New makes a namespace with its loopback interface down, known by no path.
func New() (*Namespace, error) { return create("") }

// NewAt makes a namespace and mounts it at path, as "ip netns add" does; path must
// not exist. Remove ends that.
func NewAt(path string) (*Namespace, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if err != nil {
		return nil, fmt.Errorf("network namespace: %w", err)
	}
	f.Close()
	ns, err := create(path)
	if err != nil {
		os.Remove(path)
	}
	return ns, err
}

// Remove unmounts and deletes a path that NewAt or "ip netns add" made. The
// namespace lives on until whatever holds it open is gone.
func Remove(path string) error {
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		return &fs.PathError{Op: "unmount", Path: path, Err: err}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func create(mountAt string) (ns *Namespace, err error) {
	enter := func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("new network namespace: %w", err)
		}
		return nil
	}
	err = away(enter, func() error {
		if mountAt != "" {
			if err := unix.Mount("/proc/thread-self/ns/net", mountAt, "none", unix.MS_BIND, ""); err != nil {
				return &fs.PathError{Op: "mount namespace at", Path: mountAt, Err: err}
			}
		}
		ns, err = Current()
		return err
	})
	return ns, err
}

// Do runs f on the calling thread, moved into the namespace meanwhile. What f starts
// with "go" is outside; sockets that it opens stay inside.
func (ns *Namespace) Do(f func() error) error {
	enter := func() error {
		if err := unix.Setns(ns.Fd(), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		return nil
	}
	return away(enter, f)
}

// away runs f on the calling thread after enter, and brings the thread back. It cannot be
// left behind instead, to end with its goroutine: the runtime lets no process's first
// thread end, and that would keep the namespace as long as the process lives.
func away(enter, f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	outside, err := Current()
	if err != nil {
		return err
	}
	defer outside.Close()
	if err := enter(); err != nil {
		return err
	}
	defer func() {
		if err := unix.Setns(outside.Fd(), unix.CLONE_NEWNET); err != nil {
			// The kernel has no reason to refuse this, and nothing done from here on would
			// be done in the right place.
			panic(fmt.Sprintf("leave network namespace: %v", err))
		}
	}()
	return f()
}

// Same reports whether both are one namespace.
func (ns *Namespace) Same(other *Namespace) (bool, error) {
	a, err := ns.file.Stat()
	if err != nil {
		return false, err
	}
	b, err := other.file.Stat()
	if err != nil {
		return false, err
	}
	return os.SameFile(a, b), nil
}

// Fd returns the namespace's file descriptor, valid until Close.
func (ns *Namespace) Fd() int { return int(ns.file.Fd()) }

// Path returns a path by which this process, and no other, can open the namespace until Close.
func (ns *Namespace) Path() string { return fmt.Sprintf("/proc/self/fd/%d", ns.Fd()) }

// Close lets go of the namespace. Its memory is freed when nothing else holds it.
func (ns *Namespace) Close() error { return ns.file.Close() }
