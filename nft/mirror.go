package nft

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Mirror makes the firewall, which is a fresh namespace's and has a copy of the records of
// from, like that one: Seam's tables with all elements, and of iptables-nft's tables what
// decides how Seam makes its own: whether there is a chain, and FORWARD's policy.
func (t *Table) Mirror(from *Table) error {
	var errs []error
	records, err := t.records.all()
	errs = append(errs, err)
	if len(records) > 0 {
		errs = append(errs, t.Repair())
	}
	from.mu.Lock()
	defer from.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range families {
		filter := table{f.number, "filter"}
		there, err := from.exists(filter)
		if err == nil && there {
			err = t.mirrorFilter(filter, from)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("mirror table %s: %w", filter, err))
		}
	}
	return errors.Join(errs...)
}

// mirrorFilter makes the table and its chains, of which FORWARD alone is entered, by nothing that
// the mirror forwards. Chains that admit an interface have their rules, and jumps to them.
func (t *Table) mirrorFilter(filter table, from *Table) error {
	chains, err := from.chains(filter)
	if err != nil {
		return err
	}
	plan := []netlink.Message{newTable(filter)}
	for _, held := range chains {
		c := chain{table: filter, name: held.name}
		if held.name == "FORWARD" && held.base {
			c.hook = &hook{"filter", unix.NF_INET_FORWARD, priorityFilter, ""}
		}
		plan = append(plan, newChain(c))
		if c.hook != nil && held.policy == policyDrop {
			plan = append(plan, dropByPolicy(c))
		}
	}
	if err := t.conn.commit(plan...); err != nil {
		return err
	}
	return t.mirrorAdmissions(filter, chains)
}

func (t *Table) mirrorAdmissions(filter table, chains []heldChain) error {
	var plan []netlink.Message
	for _, f := range families {
		for _, held := range chains {
			ifname, ours := strings.CutPrefix(held.name, admissionPrefix)
			if f.number != filter.family || !ours {
				continue
			}
			a := admissionOf(f, ifname)
			for _, r := range a.own.rules {
				plan = append(plan, addRule(a.own, r, netlink.Append))
			}
			plan = append(plan, addRule(a.forward, jumpTo(a.own), 0))
		}
	}
	return t.conn.commit(plan...)
}

func jumpTo(c chain) rule {
	return rule{exprs: []expr.Any{&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictJump, Chain: c.name}}}
}

// dropByPolicy sets the policy of a base chain to drop.
func dropByPolicy(c chain) netlink.Message {
	return message(unix.NFT_MSG_NEWCHAIN, c.table, netlink.Create, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_CHAIN_TABLE, c.table.name)
		ae.String(unix.NFTA_CHAIN_NAME, c.name)
		ae.Uint32(unix.NFTA_CHAIN_POLICY, policyDrop)
	})
}
