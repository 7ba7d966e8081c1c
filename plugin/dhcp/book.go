package dhcp

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/seamnet/seam/cni"
	"golang.org/x/sys/unix"
)

// A book is the leases on disk, a file for each in a folder beside the daemon's
// socket. Whoever has it open, the daemon or for lack of one the plugin, has it alone.
type book struct {
	dir    *os.File // flocked
	prefix string   // before the paths of namespaces
}

// errBookInUse says that a daemon has the book, which may not answer yet.
var errBookInUse = errors.New("another process has it")

// bookOf returns the folder of the leases that the daemon at the socket keeps. It is
// where the socket is, on a tmpfs as a rule: leases do not outlive the kernel.
func bookOf(socket string) string { return strings.TrimSuffix(socket, ".sock") + ".leases" }

// openBook opens the book in dir, which is made if it is not there.
func openBook(dir string) (*book, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if err == unix.EWOULDBLOCK {
			err = errBookInUse
		}
		return nil, fmt.Errorf("leases in %s: %w", dir, err)
	}
	return &book{dir: f}, nil
}

func (b *book) close() error { return b.dir.Close() }

// unfinished begins the name of a record that is being written.
const unfinished = "."

func (b *book) path(tag cni.Tag) string { return filepath.Join(b.dir.Name(), tag.Hash(32)+".json") }

// save writes the lease's record.
func (b *book) save(l *lease) error {
	data, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	path := b.path(l.Tag())
	beside := filepath.Join(filepath.Dir(path), unfinished+filepath.Base(path))
	if err := os.WriteFile(beside, data, 0o600); err != nil {
		return err
	}
	return os.Rename(beside, path)
}

// remove deletes a record. That there is none is no error.
func (b *book) remove(tag cni.Tag) error { return ignoreMissing(os.Remove(b.path(tag))) }

// load returns the lease of the tag, nil if there is none.
func (b *book) load(tag cni.Tag) (*lease, error) {
	l, err := readLease(b.path(tag))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return l, err
}

func readLease(path string) (*lease, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	l := new(lease)
	if err := json.Unmarshal(data, l); err != nil {
		return nil, fmt.Errorf("lease %s: %w", path, err)
	}
	return l, nil
}

// list returns all leases, and goes on over those that it cannot read.
func (b *book) list() ([]*lease, error) {
	names, err := os.ReadDir(b.dir.Name())
	errs := []error{err}
	var leases []*lease
	for _, n := range names {
		path := filepath.Join(b.dir.Name(), n.Name())
		if strings.HasPrefix(n.Name(), unfinished) {
			errs = append(errs, os.Remove(path)) // of a process that was killed
			continue
		}
		l, err := readLease(path)
		if err == nil {
			leases = append(leases, l)
		}
		errs = append(errs, err)
	}
	return leases, errors.Join(errs...)
}

// end releases a lease, if its link is there still to do that over, and forgets it.
// That no server hears of it is no error: it has the lease end by itself.
func (b *book) end(l *lease) error {
	_ = client{prefix: b.prefix}.release(l)
	return b.remove(l.Tag())
}
