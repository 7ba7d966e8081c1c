package dhcp

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/state"
)

// A book is the leases on disk, a file for each in a folder beside the daemon's
// socket. Whoever has it open, the daemon or for lack of one the plugin, has it alone.
type book struct {
	dir    string
	close  func()
	prefix string // before the paths of namespaces
}

// bookOf returns the folder of the leases that the daemon at the socket keeps. It is
// where the socket is, on a tmpfs as a rule: leases do not outlive the kernel.
func bookOf(socket string) string { return strings.TrimSuffix(socket, ".sock") + ".leases" }

// openBook opens the book in dir, which is made if it is not there. That a daemon has it,
// which may not answer yet, matches state.ErrLocked.
func openBook(dir string) (*book, error) {
	unlock, err := state.TryLock(dir)
	if err != nil {
		return nil, err
	}
	return &book{dir: dir, close: unlock}, nil
}

func (b *book) path(tag cni.Tag) string { return filepath.Join(b.dir, tag.Hash(32)+".json") }

// save writes the lease's record.
func (b *book) save(l *lease) error {
	text, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	return state.WriteText(b.path(l.Tag()), text)
}

func (b *book) remove(tag cni.Tag) error { return state.Remove(b.path(tag)) }

// load returns the lease of the tag, nil if there is none.
func (b *book) load(tag cni.Tag) (*lease, error) { return state.Read[lease](b.path(tag)) }

// list returns all leases, and goes on over those that it cannot read.
func (b *book) list() ([]*lease, error) {
	swept := state.Sweep(b.dir)
	leases, err := state.List[lease](b.dir)
	return leases, errors.Join(swept, err)
}

// end releases a lease, if its link is there still to do that over, and forgets it.
// That no server hears of it is no error: it has the lease end by itself.
func (b *book) end(l *lease) error {
	_ = client{prefix: b.prefix}.release(l)
	return b.remove(l.Tag())
}
