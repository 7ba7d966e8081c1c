package nft

import (
	"errors"
	"fmt"
	"slices"

	"github.com/seamnet/seam/cni"
)

// Retain drops, as Drop does, what a plugin has for attachments of the network that
// are not valid, and returns it. Elements whose record was lost are found by their comment, and
// chains that nothing leads to are removed: this lists the tables, which Put and
// Drop never do. It goes on over failures and joins them.
func (t *Table) Retain(plugin, network string, valid []cni.Tag, then func([]Element) error) (dropped []Record, err error) {
	stale := func(tag cni.Tag) bool { return tag.In(network) && !slices.Contains(valid, tag) }
	list, err := t.records.all()
	errs := []error{err}
	for _, rec := range list {
		if rec.Plugin != plugin || !stale(rec.Tag) {
			continue
		}
		if err := t.Drop(rec.Owner, then); err != nil {
			errs = append(errs, err)
			continue
		}
		dropped = append(dropped, rec)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.sweep(stale); err != nil {
		errs = append(errs, fmt.Errorf("collect firewall garbage of network %s: %w", network, err))
	}
	return dropped, errors.Join(errs...)
}

// sweep removes all elements that bear a stale tag, and then the chains that
// nothing leads to.
func (t *Table) sweep(stale func(cni.Tag) bool) error {
	var errs []error
	for _, l := range []layout{inetLayout(), bridgeLayout()} {
		there, err := t.exists(l.table)
		if !there {
			errs = append(errs, err)
			continue
		}
		for _, s := range l.sets {
			errs = append(errs, t.sweepSet(s, stale))
		}
	}
	return errors.Join(append(errs, t.sweepChains())...)
}

func (t *Table) sweepSet(s set, stale func(cni.Tag) bool) error {
	held, err := t.elements(s)
	if err != nil {
		return err
	}
	lost := make(map[cni.Tag][]entry)
	for _, h := range held {
		if tag := cni.Tag(h.comment); stale(tag) {
			lost[tag] = append(lost[tag], entry{set: s, key: h.key})
		}
	}
	var errs []error
	for tag, entries := range lost {
		errs = append(errs, t.drop(tag, entries))
	}
	return errors.Join(errs...)
}

// sweepChains removes the chains of content that hold their own rules and no
// reference. One that gets a reference meanwhile is busy, and stays.
func (t *Table) sweepChains() error {
	there, err := t.exists(inetSeam)
	if !there {
		return err
	}
	rules, err := t.rules(inetSeam, "")
	if err != nil {
		return err
	}
	chains, err := t.chains(inetSeam)
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range chains {
		if isContent(c.name) && c.uses == len(rules[c.name]) {
			err := t.conn.commit(deleteChain(chain{table: inetSeam, name: c.name}))
			if !overtaken(err) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
