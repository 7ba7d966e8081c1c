package hostdevice

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/plugin"
	"golang.org/x/sys/unix"
)

// A loan is what is to be known of a device until it is back: to whom it was lent, and
// what it was like.
type loan struct {
	Tag   cni.Tag `json:"tag"`
	NetNS string  `json:"netns"`

	Name      string           `json:"name"`
	Device    string           `json:"device,omitempty"` // its folder in sysfs
	Physical  bool             `json:"physical,omitempty"`
	Alias     string           `json:"alias,omitempty"`
	MAC       string           `json:"mac,omitempty"`
	MTU       int              `json:"mtu"`
	Up        bool             `json:"up"`
	Addresses []link.SavedAddr `json:"addresses,omitempty"`
}

// change returns what makes l, which is down, as it was, but for its names.
func (n *loan) change(l link.Link) link.Change {
	c := link.Change{Up: n.Up}
	if mac, err := net.ParseMAC(n.MAC); err == nil && l.MAC.String() != n.MAC {
		c.MAC = mac
	}
	if l.MTU != n.MTU {
		c.MTU = n.MTU
	}
	return c
}

func (n *loan) mark() string { return plugin.Mark(n.Tag) }

// A book is the folder that holds the loans, each in a file that has the name of its mark.
type book struct{ dir string }

func bookOf(h *plugin.Host) *book { return &book{h.State("host-device")} }

// lock makes all processes that lend or return go one after another.
func (b *book) lock() (unlock func(), err error) {
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.Open(b.dir)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, &fs.PathError{Op: "lock", Path: b.dir, Err: err}
		}
	}
}

func (b *book) path(mark string) string { return filepath.Join(b.dir, mark+".json") }

// read returns nil if nothing is written of it.
func (b *book) read(mark string) (*loan, error) {
	text, err := os.ReadFile(b.path(mark))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	n := new(loan)
	if err := json.Unmarshal(text, n); err != nil {
		return nil, fmt.Errorf("%s: %w", b.path(mark), err)
	}
	return n, nil
}

// write writes it whole or not at all.
func (b *book) write(n *loan) error {
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	path := b.path(n.mark())
	if err := os.WriteFile(path+".tmp", text, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

func (b *book) remove(mark string) error {
	_ = os.Remove(b.path(mark) + ".tmp") // of a write that was killed
	if err := os.Remove(b.path(mark)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// list returns all loans, and errors for those that cannot be read.
func (b *book) list() ([]*loan, error) {
	files, err := filepath.Glob(filepath.Join(b.dir, "*.json"))
	errs := []error{err}
	var all []*loan
	for _, f := range files {
		n, err := b.read(strings.TrimSuffix(filepath.Base(f), ".json"))
		if n != nil {
			all = append(all, n)
		}
		errs = append(errs, err)
	}
	return all, errors.Join(errs...)
}
