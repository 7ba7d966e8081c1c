// Package multicall puts one program into a folder under many names, and takes it
// out again: how Seam's plugins come to where runtimes look for them.
//
// Each name is a hard link to one file (a copy of it where the file system has no
// hard links). A name is never missing and never half written, and a program that
// runs is left alone: what is new is made beside and renamed over. What stood there
// and was not Seam's is kept as NAME.before-seam. The folder is locked meanwhile, so
// that several installations come one after another; one that was killed leaves
// files .seam*.new at most, which the next one removes.
//
// It knows nothing of plugins. To see what it did: ls -li FOLDER.
package multicall

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// backupSuffix ends the name under which what was there before is kept. No runtime
// finds it: a plugin's type is the whole name.
const backupSuffix = ".before-seam"

// besideName is that of a file on its way to its own.
const besideName = ".seam.link.new"

// module is what Seam is built from.
const module = "github.com/seamnet/seam"

// An Outcome says what became of a name.
type Outcome string

// The outcomes.
const (
	Installed Outcome = "installed" // there was nothing
	Updated   Outcome = "updated"   // there was another build of Seam
	Unchanged Outcome = "unchanged" // it was this very build
	Replaced  Outcome = "replaced"  // another program was there, and is kept
	Kept      Outcome = "kept"      // another program is there, and stays
	Removed   Outcome = "removed"
	Restored  Outcome = "restored" // removed, and what was there before is back
	Absent    Outcome = "absent"   // nothing of Seam's was there to remove
)

// A Change is what became of one name.
type Change struct {
	Name    string  `json:"name"`
	Outcome Outcome `json:"outcome"`
	Backup  string  `json:"backup,omitempty"` // Replaced: where the other program is kept
}

// A Folder is where the names are to be.
type Folder struct {
	Dir         string
	KeepForeign bool         // leave other programs of these names alone
	Report      func(Change) // called after each name; nil: not
}

// Install makes every name in the folder the program self, making the folder when
// missing. What cannot be replaced is found before the first name is; on a later error,
// the names before it are done and the others as they were.
func (f Folder) Install(self string, names []string) error {
	if err := os.MkdirAll(f.Dir, 0o755); err != nil {
		return fmt.Errorf("install: %w", err)
	}
	return f.locked(func() error {
		if err := f.checkPlaces(names); err != nil {
			return fmt.Errorf("install: %w", err)
		}
		fresh := filepath.Join(f.Dir, ".seam.new")
		defer os.Remove(fresh)
		defer os.Remove(filepath.Join(f.Dir, besideName)) // of a run that was killed
		if err := copyFile(self, fresh); err != nil {
			return fmt.Errorf("install: %w", err)
		}
		for _, name := range names {
			c, err := f.install(fresh, name)
			if err != nil {
				return fmt.Errorf("install %s: %w", name, err)
			}
			f.report(c)
		}
		return nil
	})
}

// locked calls do while nobody else changes the folder, and then has it written to
// disk.
func (f Folder) locked(do func() error) error {
	dir, err := os.Open(f.Dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return &fs.PathError{Op: "lock", Path: f.Dir, Err: err}
	}
	return errors.Join(do(), dir.Sync())
}

// checkPlaces names whatever stands in the place of a name, or of what is kept of it,
// and is no program.
func (f Folder) checkPlaces(names []string) error {
	if f.KeepForeign {
		return nil // it stays
	}
	var errs []error
	for _, name := range names {
		for _, place := range []string{name, name + backupSuffix} {
			path := filepath.Join(f.Dir, place)
			st, err := os.Stat(path)
			switch {
			case errors.Is(err, fs.ErrNotExist):
			case err != nil:
				errs = append(errs, err)
			case !st.Mode().IsRegular():
				errs = append(errs, fmt.Errorf("%s is a directory or a special file: move it away", path))
			}
		}
	}
	return errors.Join(errs...)
}

func (f Folder) install(fresh, name string) (Change, error) {
	path := filepath.Join(f.Dir, name)
	c := Change{Name: name}
	same, err := equal(fresh, path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.Outcome = Installed
	case err != nil:
		return c, err
	case same:
		c.Outcome = Unchanged
		return c, nil // an equal file is as good as a link, and stays whole
	case isSeam(path):
		c.Outcome = Updated
	case f.KeepForeign:
		c.Outcome = Kept
		return c, nil
	default:
		c.Outcome, c.Backup = Replaced, path+backupSuffix
		if err := keep(path, c.Backup); err != nil {
			return c, err
		}
	}
	return c, link(fresh, path)
}

// keep gives a file a second name, unless an earlier one has it: the oldest is what
// the administrator had before Seam.
func keep(path, backup string) error {
	if _, err := os.Lstat(backup); err == nil {
		return nil
	}
	return link(path, backup)
}

// link makes to another name of a file, in one step, whatever to was before.
func link(file, to string) error {
	beside := filepath.Join(filepath.Dir(to), besideName)
	if err := os.Remove(beside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Link(file, beside); err != nil {
		if err := copyFile(file, beside); err != nil { // a file system without hard links
			return err
		}
	}
	if err := os.Rename(beside, to); err != nil {
		os.Remove(beside)
		return err
	}
	return nil
}

// Remove takes the names out of the folder if they are Seam's, and puts back what
// was there before. It goes on over errors.
func (f Folder) Remove(names []string) error {
	return f.locked(func() error {
		var errs []error
		for _, name := range names {
			c, err := f.remove(name)
			if err != nil {
				errs = append(errs, fmt.Errorf("remove %s: %w", name, err))
				continue
			}
			f.report(c)
		}
		return errors.Join(errs...)
	})
}

func (f Folder) remove(name string) (Change, error) {
	path := filepath.Join(f.Dir, name)
	if !isSeam(path) {
		return Change{Name: name, Outcome: Absent}, nil
	}
	err := os.Rename(path+backupSuffix, path)
	if err == nil {
		return Change{Name: name, Outcome: Restored}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return Change{}, err
	}
	return Change{Name: name, Outcome: Removed}, os.Remove(path)
}

func (f Folder) report(c Change) {
	if f.Report != nil {
		f.Report(c)
	}
}

// isSeam reports whether the file is some build of Seam, by what the Go linker writes
// into programs. debug/buildinfo would tell as well, but what it links costs every
// start of a plugin.
func isSeam(path string) bool {
	data, err := os.ReadFile(path)
	return err == nil && bytes.Contains(data, []byte("\nmod\t"+module+"\t"))
}

// copyFile copies a program in the place of what an interrupted copy left.
func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Chmod(0o755), out.Sync(), out.Close()); err != nil {
		os.Remove(to)
	}
	return err
}
