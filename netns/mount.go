package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// MountAt mounts the namespace at path too, as NewAt does with one that it makes; Remove
// ends that. A path that is there matches fs.ErrExist, unless what is mounted there, or
// the plain file that such a mount leaves, is to be replaced. Whoever opens the path
// while it is replaced may find no namespace.
func (ns *Namespace) MountAt(path string, replace bool) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	made := err == nil
	switch {
	case made:
		f.Close()
	case !replace || !errors.Is(err, fs.ErrExist):
		return fmt.Errorf("network namespace: %w", err)
	default:
		if err := unmountAll(path); err != nil {
			return err
		}
	}
	if err := unix.Mount(ns.Path(), path, "none", unix.MS_BIND, ""); err != nil {
		err = &fs.PathError{Op: "mount namespace at", Path: path, Err: err}
		if made {
			err = errors.Join(err, os.Remove(path))
		}
		return err
	}
	return nil
}

// unmountAll leaves nothing mounted at path, however many mounts lie on one another.
func unmountAll(path string) error {
	for {
		err := unix.Unmount(path, unix.MNT_DETACH)
		if errors.Is(err, unix.EINVAL) { // nothing is mounted
			return nil
		}
		if err != nil {
			return &fs.PathError{Op: "unmount", Path: path, Err: err}
		}
	}
}
