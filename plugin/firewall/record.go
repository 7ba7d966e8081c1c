package firewall

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/seamnet/seam/cni"
	"golang.org/x/sys/unix"
)

// pluginType is the owner of elements, whatever the file is called that is executed.
const pluginType = "firewall"

// A record is what one attachment has of the host's firewall.
type record struct {
	Tag       cni.Tag      `json:"tag"`
	Backend   Backend      `json:"backend"` // of the addresses; never Auto
	Addresses []netip.Addr `json:"addresses,omitempty"`

	AdminChain string `json:"adminChain,omitempty"`
	Zone       string `json:"zone,omitempty"`
	Forwards   string `json:"forwards,omitempty"` // the link whose forwarding nftables admits
	Shared     bool   `json:"shared,omitempty"`   // by other attachments

	Policy Policy  `json:"policy,omitempty"`
	Bridge string  `json:"bridge,omitempty"` // that has a wall; empty: the policy is open
	Port   string  `json:"port,omitempty"`   // the pod's, if the bridge is one
	Walls  Backend `json:"walls,omitempty"`  // where the bridge's wall is
}

// books is the folder of the records and, below walls/WHERE/BRIDGE.POLICY, of who is
// behind a bridge's wall: a file for each attachment. It ends with the kernel's state.
type books struct{ dir string }

func (b books) path(tag cni.Tag) string { return filepath.Join(b.dir, tag.Hash(32)+".json") }

// errRecord is a record that cannot be understood: cut short by a power failure where
// the folder is no tmpfs.
var errRecord = errors.New("not readable")

// read returns nil for an attachment without a record.
func (b books) read(tag cni.Tag) (*record, error) { return readRecord(b.path(tag)) }

func readRecord(path string) (*record, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("firewall record: %w", err)
	}
	rec := new(record)
	if err := json.Unmarshal(text, rec); err != nil {
		return nil, fmt.Errorf("firewall record %s: %w: %w", path, errRecord, err)
	}
	return rec, nil
}

// write writes the record, whole or not at all.
func (b books) write(rec *record) error {
	text, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	path := b.path(rec.Tag)
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return fmt.Errorf("firewall record: %w", err)
	}
	if err := os.WriteFile(path+".tmp", text, 0o600); err != nil {
		return fmt.Errorf("firewall record: %w", err)
	}
	return os.Rename(path+".tmp", path)
}

func (b books) remove(tag cni.Tag) error {
	errs := []error{os.Remove(b.path(tag)), os.Remove(b.path(tag) + ".tmp")}
	for i, err := range errs {
		if errors.Is(err, fs.ErrNotExist) {
			errs[i] = nil
		}
	}
	return errors.Join(errs...)
}

// all returns every record that can be read; the error names those that cannot.
func (b books) all() (list []*record, err error) {
	paths, err := filepath.Glob(filepath.Join(b.dir, "*.json"))
	errs := []error{err}
	for _, path := range paths {
		rec, err := readRecord(path)
		if rec != nil {
			list = append(list, rec)
		}
		errs = append(errs, err)
	}
	return list, errors.Join(errs...)
}

// lock lets one process at a time count who is behind a wall and act on it.
func (b books) lock() (unlock func(), err error) {
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return nil, err
	}
	fd, err := unix.Open(b.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: b.dir, Err: err}
	}
	for {
		err = unix.Flock(fd, unix.LOCK_EX)
		if err == nil {
			return func() { unix.Close(fd) }, nil
		}
		if !errors.Is(err, unix.EINTR) {
			unix.Close(fd)
			return nil, &fs.PathError{Op: "lock", Path: b.dir, Err: err}
		}
	}
}

// A wall is what a back end keeps up for a bridge as long as someone is behind it.
type wall struct {
	where  string // nftables; iptables and ip6tables each for itself
	bridge string
	policy Policy
}

func (r *record) wall(where string) wall { return wall{where, r.Bridge, r.Policy} }

// under is the wall of the same bridge under that policy: networks may share a bridge.
func (w wall) under(p Policy) wall {
	w.policy = p
	return w
}

func (b books) wall(w wall) string {
	return filepath.Join(b.dir, "walls", w.where, w.bridge+"."+string(w.policy))
}

// join counts the attachment in, and reports whether it is the first one. The books
// are locked by the caller, here and below.
func (b books) join(w wall, tag cni.Tag) (first bool, err error) {
	dir := b.wall(w)
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return false, err
	}
	if err = os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return false, err
	}
	return err == nil, os.WriteFile(filepath.Join(dir, tag.Hash(32)), nil, 0o600)
}

// found notes that the wall was there before, made by someone else: it stays.
func (b books) found(w wall) error {
	return os.WriteFile(filepath.Join(b.wall(w), "found"), nil, 0o600)
}

// leave counts the attachment out, and reports whether nobody is left.
func (b books) leave(w wall, tag cni.Tag) (last bool, err error) {
	dir := b.wall(w)
	err = os.Remove(filepath.Join(dir, tag.Hash(32)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	err = os.Remove(dir)
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist):
		return true, nil
	case errors.Is(err, unix.ENOTEMPTY):
		return false, nil
	}
	return false, err
}

// stands reports whether someone is behind the wall.
func (b books) stands(w wall) bool {
	_, err := os.Stat(b.wall(w))
	return err == nil
}
