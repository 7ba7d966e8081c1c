package hostlocal

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// The index finds a holder's leases without listing them: a folder of symbolic
// links, made and read by one system call each, whose name is the holder's key and
// whose target is its addresses. It stands outside of the leases' folder, all of
// whose files the reference plugin reads, and each boot has its own.
//
// The reference plugin, people and killed processes change leases without it.
// That shows by the folders' times: whoever leaves both folders as they should be
// sets both to the same time, with a fraction of a second that the kernel does not
// set by itself, and any later change of a file in one of them sets that one's
// again. Folders whose times differ, or lack the mark, are listed once and the
// index made anew. On file systems whose times are too coarse for the mark that is
// always so.
const markNanoseconds = 999_999_999

// mark says that the index is right.
func (b *book) mark() {
	st, err := os.Stat(b.dir)
	if err != nil {
		return
	}
	t := st.ModTime().Truncate(time.Second).Add(markNanoseconds)
	if os.Chtimes(b.dir, time.Time{}, t) == nil {
		_ = os.Chtimes(b.index, time.Time{}, t) // without it the leases are listed next time
	}
}

// marked reports whether the index is right.
func (b *book) marked() bool {
	leases, err := os.Stat(b.dir)
	if err != nil || leases.ModTime().Nanosecond() != markNanoseconds {
		return false
	}
	index, err := os.Stat(b.index)
	return err == nil && index.ModTime().Equal(leases.ModTime())
}

// load lists the leases unless the index is right. The book can be used after an
// error; leases that could not be read are missing from it.
func (b *book) load() error {
	if b.marked() {
		return nil
	}
	return b.list()
}

// held returns what the holder has by the index or by the list of all.
func (b *book) held(h holder) ([]netip.Addr, error) {
	if b.all != nil {
		return b.all[h], nil
	}
	entry, err := os.Readlink(filepath.Join(b.index, h.key()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseEntry(entry)
}

// note makes the index say that the holder has these addresses, and no others.
func (b *book) note(h holder, addrs []netip.Addr) error {
	if b.all != nil {
		b.all[h] = addrs
		if len(addrs) == 0 {
			delete(b.all, h)
		}
		return nil // close writes it
	}
	path := filepath.Join(b.index, h.key())
	if len(addrs) == 0 {
		return remove(path)
	}
	err := os.Symlink(encodeEntry(addrs), path)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	return os.Symlink(encodeEntry(addrs), path)
}

// list reads all leases, and frees those that are nobody's: empty ones, of a
// process of the reference plugin that was killed, and those of earlier boots. It
// goes on over failures.
func (b *book) list() error {
	b.all = make(map[holder][]netip.Addr)
	earlier, err := b.earlierBoots()
	errs := []error{err}
	files, err := os.ReadDir(b.dir)
	errs = append(errs, err)
	for _, f := range files {
		a, ok := leaseAddr(f.Name())
		if !ok || !f.Type().IsRegular() {
			continue
		}
		h, err := b.holder(a)
		if err == nil && (h == holder{} || earlier.hold(h, f)) {
			err = remove(b.path(a))
		} else if err == nil {
			b.all[h] = append(b.all[h], a)
		}
		errs = append(errs, err)
	}
	err = errors.Join(errs...)
	if b.partial = err != nil; b.partial {
		return err
	}
	return earlier.forget()
}

// boots are the indexes of earlier boots of the host.
type boots []boot

type boot struct {
	index string
	end   time.Time // when it was last marked
}

func (b *book) earlierBoots() (boots, error) {
	folders, err := os.ReadDir(b.boots)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var earlier boots
	for _, f := range folders {
		if f.Name() == filepath.Base(b.index) {
			continue
		}
		st, err := f.Info()
		if err != nil {
			return nil, err
		}
		earlier = append(earlier, boot{filepath.Join(b.boots, f.Name()), st.ModTime()})
	}
	return earlier, err
}

// hold reports whether a lease is from before the host booted, when no container of
// today was there: its holder was known in an earlier boot, and the lease was not
// written after that boot was last heard of. That the clock says "before the boot"
// would not do: clocks are set forward after a boot, and an address that is in use
// must never be freed. So leases that the reference plugin alone has known are
// taken for this boot's; they are freed after the next, or by GC.
func (earlier boots) hold(h holder, file fs.DirEntry) bool {
	if len(earlier) == 0 {
		return false
	}
	st, err := file.Info()
	if err != nil {
		return false
	}
	for _, b := range earlier {
		if st.ModTime().After(b.end) {
			continue
		}
		if _, err := os.Lstat(filepath.Join(b.index, h.key())); err == nil {
			return true
		}
	}
	return false
}

// forget deletes the indexes of earlier boots.
func (earlier boots) forget() error {
	var errs []error
	for _, b := range earlier {
		errs = append(errs, os.RemoveAll(b.index))
	}
	return errors.Join(errs...)
}

// writeIndex makes the index say what was listed.
func (b *book) writeIndex() error {
	if err := os.MkdirAll(b.index, 0o755); err != nil {
		return err
	}
	entries := make(map[string]string, len(b.all))
	for h, addrs := range b.all {
		entries[h.key()] = encodeEntry(addrs)
	}
	files, err := os.ReadDir(b.index)
	if err != nil {
		return err
	}
	for _, f := range files {
		path := filepath.Join(b.index, f.Name())
		if entry, err := os.Readlink(path); err == nil && entry == entries[f.Name()] {
			delete(entries, f.Name())
		} else if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	for key, entry := range entries {
		if err := os.Symlink(entry, filepath.Join(b.index, key)); err != nil {
			return err
		}
	}
	return nil
}
