package nft

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"github.com/seamnet/seam/cni"
	"golang.org/x/sys/unix"
)

// A Table is Seam's firewall of one network namespace: "inet seam" and, once
// something is guarded, "bridge seam". It may be used concurrently, and by many
// processes at once: the kernel's transactions are all that they share.
type Table struct {
	records records

	mu   sync.Mutex // one request and its answers after another
	conn *conn
}

// Open opens the firewall of the calling thread's namespace. dir holds the record
// of what each owner has; it should be on a tmpfs, as what it tells of ends with
// the kernel's state. Nothing is made before the first Put.
func Open(dir string) (*Table, error) {
	c, err := dial()
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	return &Table{records: records{dir}, conn: c}, nil
}

// Close closes the socket; what was put stays.
func (t *Table) Close() error { return t.conn.close() }

// Available returns nil if the kernel has nftables and lets the caller change it.
func (t *Table) Available() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	answers, err := t.conn.ask(getTable(inetSeam))
	if err == nil && !errors.Is(answers[0].err, fs.ErrNotExist) {
		err = answers[0].err
	}
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	return nil
}

// Put sets what the owner has, in place of what it had, in one transaction. The
// record is written first, so that Drop finds everything also after a crash.
//
// A masquerade, hairpin or guard that another attachment has is taken over: an
// address is its last owner's. A host port is not: for one that another attachment
// has, the error is a cni.Error with CodeTryAgain that names the holder, and
// nothing is changed.
//
// If the table is missing or was flushed, it is restored first, with the elements
// of all owners.
func (t *Table) Put(o Owner, elements ...Element) error {
	if len(elements) == 0 {
		return t.Drop(o, nil)
	}
	wanted, err := compile(elements)
	if err != nil {
		return fmt.Errorf("put %s: %w", o.Tag, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	was, old, err := t.had(o)
	if err != nil && !errors.Is(err, errRecord) {
		return err
	}
	rec := &Record{o, elements}
	gone := without(old, wanted)
	if len(gone) > 0 { // until they are: both
		rec.Elements = slices.Concat(was.Elements, elements)
	}
	if err := t.records.write(rec); err != nil {
		return err
	}
	err = t.put(o, change{wanted: wanted, old: old, look: len(old) > 0, restore: true})
	switch {
	case cni.CodeOf(err) == cni.CodeTryAgain:
		return errors.Join(err, t.records.revert(o, was))
	case err != nil:
		return fmt.Errorf("put %s: %w", o.Tag, err)
	case len(gone) > 0:
		return t.records.write(&Record{o, elements})
	}
	return nil
}

// had returns the owner's record, nil if there is none, and what it comes to.
func (t *Table) had(o Owner) (*Record, []entry, error) {
	rec, err := t.records.read(o)
	if rec == nil || err != nil {
		return nil, nil, err
	}
	entries, err := compile(rec.Elements)
	return rec, entries, err
}

// A change is what put is to do.
type change struct {
	wanted, old []entry
	look        bool // some of them may be there
	restore     bool // the static rules and others' elements first, if they are gone
}

// attempts bounds how often a transaction is tried when other processes change the
// same chains at the same time.
const attempts = 10

var (
	errContended = fmt.Errorf("other processes changed the same chains %d times meanwhile", attempts)
	errNotWhole  = errors.New("the static rules are missing: another program flushes the table")
)

func (t *Table) put(o Owner, c change) (err error) {
	for range attempts {
		if err = t.tryPut(o, c); !overtaken(err) {
			return err
		}
		if errors.Is(err, errNotWhole) && !c.restore {
			return err
		}
		c.look = true
	}
	return err
}

func (t *Table) tryPut(o Owner, c change) error {
	now, err := t.look(c.wanted, c.old, c.look)
	if err != nil {
		return err
	}
	if len(now.broken) > 0 {
		if c.restore {
			if err := t.restore(now.broken, o); err != nil {
				return err
			}
		}
		return fmt.Errorf("table %s: %w", now.broken[0], errNotWhole)
	}
	plan, err := now.plan(o.Tag, c.wanted, c.old)
	if err != nil {
		return err
	}
	if err := t.conn.commit(plan...); err != nil {
		return err
	}
	return t.deleteUnused(without(c.old, c.wanted))
}

// deleteUnused deletes the chains of content that the entries, now gone, led to and
// nothing leads to any more. Of two transactions that leave a chain at the same moment
// each counts the other's reference beforehand; the later one finds none here.
func (t *Table) deleteUnused(gone []entry) error {
	var unused []chain
	q := new(questions)
	for _, c := range contentChains(gone) {
		q.chain(c, func(h heldChain, found bool) {
			if found && h.uses == len(c.rules) {
				unused = append(unused, c)
			}
		})
	}
	if err := q.put(t.conn); err != nil {
		return err
	}
	for _, c := range unused {
		// One that got a reference, or went, meanwhile is no concern of ours any more.
		if err := t.conn.commit(deleteChain(c)); err != nil && !overtaken(err) {
			return err
		}
	}
	return nil
}

// overtaken tells the errors of a transaction whose plan is no longer right: a
// chain went, or an element came. Another plan may do.
func overtaken(err error) bool {
	return errors.Is(err, errNotWhole) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) || errors.Is(err, unix.EBUSY) ||
		errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN)
}

// Drop removes what the owner has and its record. Nothing recorded is fine, and so
// is what is gone from the kernel or has become another attachment's.
//
// In between, when the elements are gone and the record is not, it calls then with
// the elements, if there are any and then is not nil: whatever must follow them is not
// forgotten if the process ends there, or then fails, because another Drop or Retain
// does it again.
func (t *Table) Drop(o Owner, then func([]Element) error) error {
	elements, unlock, err := t.remove(o)
	defer unlock()
	if err == nil && len(elements) > 0 && then != nil {
		err = then(elements)
	}
	if err != nil {
		return fmt.Errorf("drop %s: %w", o.Tag, err)
	}
	return t.records.remove(o)
}

// remove removes what the owner has from the kernel, and returns what that was by
// its record. The records stay locked until unlock is called.
func (t *Table) remove(o Owner) (elements []Element, unlock func(), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if unlock, err = t.records.lock(unix.LOCK_SH); err != nil {
		return nil, unlock, err
	}
	rec, old, err := t.had(o)
	switch {
	case errors.Is(err, errRecord):
		return nil, unlock, t.sweep(func(tag cni.Tag) bool { return tag == o.Tag })
	case rec == nil || err != nil:
		return nil, unlock, err
	}
	return rec.Elements, unlock, t.drop(o.Tag, old)
}

func (t *Table) drop(tag cni.Tag, old []entry) error {
	if len(old) == 0 {
		return nil
	}
	for range attempts {
		now, err := t.look(nil, old, true)
		if err != nil {
			return err
		}
		plan, err := now.plan(tag, nil, old)
		if err != nil {
			return err
		}
		if err = t.conn.commit(plan...); err == nil {
			return t.deleteUnused(old)
		}
		if !overtaken(err) {
			return err
		}
	}
	return errContended
}

// Owned returns what an attachment's plugins have by their records.
func (t *Table) Owned(tag cni.Tag) ([]Record, error) { return t.records.of(tag) }
