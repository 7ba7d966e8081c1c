// Package state keeps small records in files: what must outlive a process, and is to be
// found again by the next one, whatever became of the first.
//
// Every room that leaves something on a host writes down what, each in a folder of its
// own; that a record is whole or not there holds for all of them because it is done here.
// So does, for all who Lock here, that a lock is not waited for longer than the caller has
// time: package nft does not, as who drops elements shares its lock with others, and waits
// for it without a bound. A record is a JSON file that people can read. Nothing is synced to
// the disk: records of what ends with the kernel are on a tmpfs and end with it, and one
// that a loss of power cut short elsewhere is ErrUnreadable.
//
// It is not for what has another form by another program's rule (leases of host-local,
// libcni's cache).
//
// To debug: cat the file that an error names; lslocks shows who holds a lock.
package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// scratchSuffix ends the name under which a record is written before it gets its own.
const scratchSuffix = ".tmp"

// ErrUnreadable is of a record that cannot be decoded. It will never be readable, so who
// only wants to undo what it told may remove it.
var ErrUnreadable = errors.New("not readable")

// Write writes v as JSON, whole or not at all, over what was there. The folder is made, for
// root alone, when missing. No two Writes of one path may run at once.
func Write(path string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return WriteText(path, text)
}

// WriteText is Write for JSON whose form is given: indented as another program has it, say.
func WriteText(path string, text []byte) error {
	err := create(path, text)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
			err = create(path, text)
		}
	}
	return err
}

// Sync sees to it that what Write wrote, and that it is there, is on the disk when it
// returns: for what must outlive the host's sudden end. It takes milliseconds.
func Sync(path string) error {
	for _, name := range []string{path, filepath.Dir(path)} {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		err = f.Sync()
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// create makes a file that has no name until it is whole, so that a killed process leaves
// nothing behind. Only to replace a file, or where the file system has no nameless files or
// there is no /proc to name them by, it goes by a scratch name.
func create(path string, text []byte) error {
	fd, err := unix.Open(filepath.Dir(path), unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	switch {
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EISDIR):
		return scratch(path, text)
	case err != nil:
		return &fs.PathError{Op: "create", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	if _, err := f.Write(text); err != nil {
		return err
	}
	err = name(fd, path)
	switch {
	case errors.Is(err, fs.ErrExist):
		_ = os.Remove(path + scratchSuffix)
		return renamed(path, name(fd, path+scratchSuffix))
	case errors.Is(err, fs.ErrNotExist): // /proc, or the folder since: then this says so
		return scratch(path, text)
	}
	return err
}

func scratch(path string, text []byte) error {
	return renamed(path, os.WriteFile(path+scratchSuffix, text, 0o600))
}

func name(fd int, path string) error {
	err := unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
	if err != nil {
		return &fs.PathError{Op: "name", Path: path, Err: err}
	}
	return nil
}

// renamed gives the scratch file, err being what became of it, its name.
func renamed(path string, err error) error {
	if err == nil {
		err = os.Rename(path+scratchSuffix, path)
	}
	if err != nil {
		return errors.Join(err, remove(path+scratchSuffix)) // a full disk leaves half of it
	}
	return nil
}

// Read returns the record, nil if there is none. Every error names the path.
func Read[T any](path string) (*T, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	v := new(T)
	if err := json.Unmarshal(text, v); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, ErrUnreadable, err)
	}
	return v, nil
}

// Remove removes the record, and what a Write of it left that was killed. Nothing there is
// fine.
func Remove(path string) error { return errors.Join(remove(path+scratchSuffix), remove(path)) }

func remove(file string) error {
	if err := os.Remove(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// List returns the folder's records in the order of their names, and errors for those that
// cannot be read. A record's name ends in ".json" or has no suffix, and begins with no dot:
// all else is passed over, and so are folders. A folder that is missing has none.
func List[T any](dir string) ([]*T, error) {
	var all []*T
	var errs []error
	err := each(dir, func(path string) {
		if !isRecord(filepath.Base(path)) {
			return
		}
		v, err := Read[T](path)
		if v != nil { // nil also for one that went meanwhile
			all = append(all, v)
		}
		errs = append(errs, err)
	})
	return all, errors.Join(append(errs, err)...)
}

func isRecord(name string) bool {
	suffix := filepath.Ext(name)
	return (suffix == "" || suffix == ".json") && !strings.HasPrefix(name, ".")
}

// Sweep removes what Writes left in the folder that were killed. It is for who has the
// folder alone, as it would take the scratch file of one that runs.
func Sweep(dir string) error {
	var errs []error
	err := each(dir, func(path string) {
		if strings.HasSuffix(path, scratchSuffix) {
			errs = append(errs, remove(path))
		}
	})
	return errors.Join(append(errs, err)...)
}

// each calls do with every file of the folder.
func each(dir string, do func(path string)) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.Type().IsRegular() {
			do(filepath.Join(dir, e.Name()))
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
