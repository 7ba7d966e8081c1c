package nft

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Docker, ufw and others set the policy of iptables' FORWARD chain to DROP. What one
// chain drops no other can accept, so Seam's traffic must be accepted there. That is
// the one thing done in a table that is not ours, in the form in which iptables-nft
// itself writes rules: "iptables -S" goes on to work, and shows a chain
// SEAM-INTERFACE.

const admissionPrefix = "SEAM-"

// admission is the chain that accepts what an interface forwards, in one family.
type admission struct{ forward, own chain }

func admissionOf(f family, ifname string) admission {
	filter := table{f.number, "filter"}
	return admission{
		forward: chain{table: filter, name: "FORWARD"},
		own: chain{
			table: filter, name: admissionPrefix + ifname, jumps: 1,
			rules: []rule{accept(expr.MetaKeyIIFNAME, ifname), accept(expr.MetaKeyOIFNAME, ifname)},
		},
	}
}

// accept is "-i IFNAME -j ACCEPT" or with -o. A name that ends in "+" is a prefix.
func accept(key expr.MetaKey, ifname string) rule {
	compare := []byte(ifname + "\x00")
	if prefix, ok := strings.CutSuffix(ifname, "+"); ok {
		compare = []byte(prefix)
	}
	return rule{exprs: []expr.Any{
		&expr.Meta{Key: key, Register: reg1}, equal(compare),
		&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictAccept},
	}}
}

// AdmitForward lets traffic in and out of the interface pass on hosts where iptables'
// FORWARD chain drops what it does not know, for IPv4 and IPv6 each; on others it
// does nothing. It may be called again at any time. A name that ends in "+" stands
// for all interfaces that begin so.
//
// Legacy iptables (not iptables-nft) keeps its rules where nftables cannot reach;
// such hosts need "iptables-legacy -I FORWARD -i IFNAME -j ACCEPT", and with -o. So
// does, in its own words, any other nftables table with a forward chain that drops,
// such as firewalld's.
func (t *Table) AdmitForward(ifname string) error {
	if ifname == "" || ifname == "+" || len(ifname) >= unix.IFNAMSIZ {
		return fmt.Errorf("admit forwarding of %q: not an interface's name", ifname)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for range attempts {
		plan, err := t.planAdmission(ifname)
		if err == nil {
			err = t.conn.commit(plan...)
		}
		if !overtaken(err) {
			if err != nil {
				return fmt.Errorf("admit forwarding of %s: %w", ifname, err)
			}
			return nil
		}
	}
	return fmt.Errorf("admit forwarding of %s: %w", ifname, errContended)
}

func (t *Table) planAdmission(ifname string) ([]netlink.Message, error) {
	var plan []netlink.Message
	drops, uses := make([]bool, len(families)), make([]int, len(families))
	q := new(questions)
	for i, f := range families {
		a := admissionOf(f, ifname)
		q.chain(a.forward, func(h heldChain, found bool) {
			drops[i] = found && h.base && h.policy == policyDrop
		})
		q.chain(a.own, func(h heldChain, found bool) { uses[i] = h.uses })
	}
	if err := q.put(t.conn); err != nil {
		return nil, err
	}
	for i, f := range families {
		a := admissionOf(f, ifname)
		if !drops[i] || uses[i] >= a.own.uses() {
			continue
		}
		remains, err := t.planRevocation(a)
		if err != nil {
			return nil, err
		}
		plan = append(plan, remains...)
		plan = append(plan, createChain(a.own, netlink.Excl))
		for _, r := range a.own.rules {
			plan = append(plan, addRule(a.own, r, netlink.Append))
		}
		jump := rule{exprs: []expr.Any{&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictJump, Chain: a.own.name}}}
		plan = append(plan, addRule(a.forward, jump, 0))
	}
	return plan, nil
}

// CheckForward reports whether the interface's traffic is dropped because what
// AdmitForward did is gone, or was not needed then.
func (t *Table) CheckForward(ifname string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	plan, err := t.planAdmission(ifname)
	if err == nil && len(plan) > 0 {
		err = errors.New("iptables' chain FORWARD drops it; run seam check --repair")
	}
	if err != nil {
		return fmt.Errorf("forwarding of %s: %w", ifname, err)
	}
	return nil
}

// RevokeForward takes back what AdmitForward did. Nothing there is fine.
func (t *Table) RevokeForward(ifname string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	for _, f := range families {
		plan, err := t.planRevocation(admissionOf(f, ifname))
		if err == nil {
			err = t.conn.commit(plan...)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("revoke forwarding of %s: %w", ifname, err))
		}
	}
	return errors.Join(errs...)
}

// planRevocation removes the chain, if it is there, and the jumps to it, for which
// it lists FORWARD.
func (t *Table) planRevocation(a admission) ([]netlink.Message, error) {
	there := false
	q := new(questions)
	q.chain(a.own, func(_ heldChain, found bool) { there = found })
	if err := q.put(t.conn); err != nil || !there {
		return nil, err
	}
	rules, err := t.rules(a.forward.table, a.forward.name)
	if err != nil {
		return nil, err
	}
	var plan []netlink.Message
	for _, r := range rules[a.forward.name] {
		if r.target == a.own.name {
			plan = append(plan, deleteRule(a.forward, r.handle))
		}
	}
	return append(plan, deleteChain(a.own)), nil
}

// Admitted returns the interfaces that AdmitForward was called for and that were not
// revoked: it lists chains, and is for collecting what is left over.
func (t *Table) Admitted() ([]string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var names []string
	for _, f := range families {
		chains, err := t.chains(table{f.number, "filter"})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return names, fmt.Errorf("admitted interfaces: %w", err)
		}
		for _, c := range chains {
			name, ours := strings.CutPrefix(c.name, admissionPrefix)
			if ours && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names, nil
}
