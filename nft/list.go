package nft

import (
	"errors"
	"io/fs"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// What lists the tables is here, for Check, Retain and people. Put and Drop look
// things up by name.

// exists reports whether the table is there.
func (t *Table) exists(which table) (bool, error) {
	answers, err := t.conn.ask(getTable(which))
	if err == nil {
		err = answers[0].err
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// chains lists the chains of a table.
func (t *Table) chains(which table) ([]heldChain, error) {
	messages, err := t.conn.dump(message(unix.NFT_MSG_GETCHAIN, which, 0, func(*netlink.AttributeEncoder) {}))
	if err != nil {
		return nil, err
	}
	var list []heldChain
	for _, m := range messages {
		c, err := parseChain(m)
		if err != nil {
			return nil, err
		}
		if c.table == which.name {
			list = append(list, c)
		}
	}
	return list, nil
}

// rules lists the rules of a table by chain, or of one of its chains.
func (t *Table) rules(which table, chain string) (map[string][]heldRule, error) {
	messages, err := t.conn.dump(message(unix.NFT_MSG_GETRULE, which, 0, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_RULE_TABLE, which.name)
		if chain != "" {
			ae.String(unix.NFTA_RULE_CHAIN, chain)
		}
	}))
	if err != nil {
		return nil, err
	}
	list := make(map[string][]heldRule)
	for _, m := range messages {
		r, err := parseRule(m)
		if err != nil {
			return nil, err
		}
		if chain == "" || chain == r.chain {
			list[r.chain] = append(list[r.chain], r)
		}
	}
	return list, nil
}

// elements lists the elements of a set.
func (t *Table) elements(s set) ([]heldElement, error) {
	messages, err := t.conn.dump(message(unix.NFT_MSG_GETSETELEM, s.table, 0, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_SET_ELEM_LIST_TABLE, s.table.name)
		ae.String(unix.NFTA_SET_ELEM_LIST_SET, s.name)
	}))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []heldElement
	for _, m := range messages {
		some, err := parseElements(m)
		if err != nil {
			return nil, err
		}
		list = append(list, some...)
	}
	return list, nil
}
