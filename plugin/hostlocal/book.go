package hostlocal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/seamnet/seam/state"
)

// A book is the leases of one network on disk, in the reference plugin's form: in
// dir a file for each address that is leased, named like it, with its holder inside;
// "last_reserved_ip.N", the address most recently given out of set N; and "lock",
// which is flocked by whoever reads or writes any of it.
//
// A lease is whole or not there: it is written beside the folder and linked into
// it. Nothing is synced to the disk, which would take longer than all the rest of
// an Add: after a loss of power the host boots, and leases of before are void.
type book struct {
	dir   string // of the leases
	boots string // holds the index of each boot
	index string // of this boot: see index.go

	lock    *os.File
	all     map[holder][]netip.Addr // every lease, once they were listed; nil: the index is right
	partial bool                    // all lacks leases that could not be read
	changed bool                    // since it was opened
}

func newBook(dataDir, network, bootID string) *book {
	// No network's name begins with a dot.
	boots := filepath.Join(dataDir, ".seam", network)
	return &book{
		dir:   filepath.Join(dataDir, network),
		boots: boots,
		index: filepath.Join(boots, bootID),
	}
}

// create opens the book, which is made if it is not there.
func (b *book) create(ctx context.Context) error {
	err := b.open(ctx)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return err
	}
	return b.open(ctx)
}

// open locks the book, waiting as long as ctx allows. For a book that is not there
// the error matches fs.ErrNotExist.
func (b *book) open(ctx context.Context) error {
	f, err := os.OpenFile(filepath.Join(b.dir, "lock"), os.O_RDONLY|os.O_CREATE, 0o640)
	if err != nil {
		return err
	}
	if _, err := state.LockFD(ctx, int(f.Fd()), f.Name()); err != nil {
		f.Close()
		return err
	}
	b.lock = f
	return nil
}

// close writes down what the index needs, and unlocks.
func (b *book) close() {
	// What fails here is made good by listing the leases next time.
	if b.all != nil && !b.partial {
		if b.writeIndex() == nil {
			b.mark()
		}
	} else if b.all == nil && b.changed {
		b.mark()
	}
	b.lock.Close()
}

// path returns where an address's lease is.
func (b *book) path(a netip.Addr) string { return filepath.Join(b.dir, a.String()) }

// free reports whether nobody holds the address.
func (b *book) free(a netip.Addr) (bool, error) {
	_, err := os.Lstat(b.path(a))
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return false, err
}

// holder returns whom the address is leased to, nobody if it is not.
func (b *book) holder(a netip.Addr) (holder, error) {
	data, err := os.ReadFile(b.path(a))
	if errors.Is(err, fs.ErrNotExist) {
		return holder{}, nil
	}
	return parseHolder(data), err
}

// find returns the holder's leases; if there are none, those that old files give
// to its container. The holder returned is the one that they name.
func (b *book) find(h holder) (holder, []netip.Addr, error) {
	addrs, err := b.held(h)
	if err != nil || len(addrs) > 0 {
		return h, addrs, err
	}
	addrs, err = b.held(h.old())
	return h.old(), addrs, err
}

// take leases addresses that are free to the holder, in addition to what it has.
func (b *book) take(h holder, addrs []netip.Addr) error {
	held, err := b.held(h)
	if err != nil {
		return err
	}
	b.changed = true
	// The index first: what it says too much does no harm.
	if err := b.note(h, append(held, addrs...)); err != nil {
		return err
	}
	whole, err := b.write(h.encode())
	if err != nil {
		return err
	}
	for _, a := range addrs {
		if err := os.Link(whole, b.path(a)); err != nil {
			return fmt.Errorf("lease: %w", err)
		}
	}
	return os.Remove(whole)
}

// write returns the path of a new file with that content. What a killed process
// left there may be a lease by another name: it is removed, not overwritten.
func (b *book) write(content string) (path string, err error) {
	if err := os.MkdirAll(b.index, 0o755); err != nil {
		return "", err
	}
	path = filepath.Join(b.index, "new")
	if err := remove(path); err != nil {
		return "", err
	}
	return path, os.WriteFile(path, []byte(content), 0o600)
}

// release frees all that the holder has, and goes on over failures.
func (b *book) release(h holder) error {
	addrs, err := b.held(h)
	if err != nil || len(addrs) == 0 {
		return err
	}
	b.changed = true
	var errs []error
	for _, a := range addrs {
		// Never on the index's word alone: the address may be another's by now.
		now, err := b.holder(a)
		if err == nil && now == h {
			err = remove(b.path(a))
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return b.note(h, nil)
}

// remove deletes a file that may be gone already.
func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (b *book) cursorPath(set int) string {
	return filepath.Join(b.dir, "last_reserved_ip."+strconv.Itoa(set))
}

// cursor returns the address most recently given out of that set, invalid if it is
// not known: then the set is begun anew.
func (b *book) cursor(set int) netip.Addr {
	data, err := os.ReadFile(b.cursorPath(set))
	if err != nil {
		return netip.Addr{}
	}
	a, _ := netip.ParseAddr(strings.TrimSpace(string(data)))
	return a
}

// setCursor is the one write in place: a cursor half written is an address to begin
// after like any other, and to replace a file makes ext4 write it out at once,
// which takes longer than the lease.
func (b *book) setCursor(set int, a netip.Addr) error {
	f, err := os.OpenFile(b.cursorPath(set), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	s := a.String()
	if _, err := f.WriteString(s); err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil || st.Size() == int64(len(s)) {
		return err
	}
	return f.Truncate(int64(len(s)))
}
