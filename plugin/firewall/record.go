package firewall

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/state"
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

// read returns nil for an attachment without a record.
func (b books) read(tag cni.Tag) (*record, error) { return state.Read[record](b.path(tag)) }

func (b books) write(rec *record) error { return state.Write(b.path(rec.Tag), rec) }

func (b books) remove(tag cni.Tag) error { return state.Remove(b.path(tag)) }

// all returns every record that can be read; the error names those that cannot.
func (b books) all() ([]*record, error) { return state.List[record](b.dir) }

// lock lets one process at a time count who is behind a wall, and change what iptables and
// firewalld have. An attachment that has none of it is none of its business.
func (b books) lock(ctx context.Context, rec *record) (unlock func(), err error) {
	if !rec.exclusive() {
		return func() {}, nil
	}
	return state.Lock(ctx, b.dir)
}

// hold is lock for a record that was read without it, and returns the one that is there
// now: another, or nil, if an ADD or DEL was faster. Then nothing is locked.
func (b books) hold(ctx context.Context, rec *record) (now *record, unlock func(), err error) {
	for {
		unlock, err = b.lock(ctx, rec)
		if err != nil {
			return nil, nil, err
		}
		now, err = b.read(rec.Tag)
		if now != nil && (rec.exclusive() || !now.exclusive()) {
			return now, unlock, nil
		}
		unlock()
		if now == nil {
			return nil, nil, err
		}
		rec = now
	}
}

// exclusive reports whether the books are to be locked for the attachment.
func (r *record) exclusive() bool { return r.Bridge != "" || r.Backend != NFTables }

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
