package nft

import (
	"errors"
	"fmt"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Repair makes everything that is recorded be in the kernel: the static rules,
// anew, and the elements of all owners. Nothing that is right changes for packets;
// run it when Check says so.
func (t *Table) Repair() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var err error
	for range attempts {
		if err = t.restore([]table{inetSeam, bridgeSeam}, Owner{}); err == nil {
			return nil
		}
		if !overtaken(err) {
			break
		}
	}
	return fmt.Errorf("repair firewall: %w", err)
}

// restore sets the static rules of the tables and all chains of content, and then
// puts the elements of all records but that of the owner who is at it already.
func (t *Table) restore(tables []table, except Owner) error {
	unlock, err := t.records.lock(unix.LOCK_EX)
	defer unlock()
	if err != nil {
		return err
	}
	owners, failed := t.recordedEntries()
	var all []entry
	for _, r := range owners {
		all = append(all, r.entries...)
	}
	for _, l := range []layout{inetLayout(), bridgeLayout()} {
		// A table of guards is not made for nobody.
		needed := l.table == inetSeam || slices.ContainsFunc(all, func(e entry) bool { return e.set.table == l.table })
		if !needed || !slices.Contains(tables, l.table) {
			continue
		}
		if err := t.conn.commit(l.messages()...); err != nil {
			return fmt.Errorf("table %s: %w", l.table, err)
		}
	}
	for some := range slices.Chunk(contentChains(all), mostElements) {
		var msgs []netlink.Message
		for _, c := range some {
			msgs = append(msgs, whole(c)...)
		}
		if err := t.conn.commit(msgs...); err != nil {
			return err
		}
	}
	for _, r := range owners {
		if r.owner != except {
			failed = errors.Join(failed, t.putAgain(r))
		}
	}
	if except != (Owner{}) {
		return nil // others' trouble is not this owner's: Check and Repair tell it
	}
	return failed
}

// recordedEntries are what an owner has by its record.
type recordedEntries struct {
	owner   Owner
	entries []entry
}

func (t *Table) recordedEntries() ([]recordedEntries, error) {
	list, failed := t.records.all()
	var owners []recordedEntries
	for _, rec := range list {
		entries, err := compile(rec.Elements)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		owners = append(owners, recordedEntries{rec.Owner, entries})
	}
	return owners, failed
}

// putAgain puts what was recorded, unless a Drop in another process has removed the
// record meanwhile: it cannot have found the elements.
func (t *Table) putAgain(r recordedEntries) error {
	if err := t.put(r.owner, change{wanted: r.entries, look: true}); err != nil {
		return fmt.Errorf("%s: %w", r.owner.Tag, err)
	}
	if rec, err := t.records.read(r.owner); rec == nil && err == nil {
		return t.drop(r.owner.Tag, r.entries)
	}
	return nil
}
