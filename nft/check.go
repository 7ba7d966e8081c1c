package nft

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seamnet/seam/cni"
)

// Check returns an error that names whatever of the owner's elements is not in the
// kernel as Put leaves it, or which static rules are missing or changed.
func (t *Table) Check(o Owner, elements ...Element) error {
	wanted, err := compile(elements)
	if err != nil {
		return fmt.Errorf("check %s: %w", o.Tag, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	wrong, err := t.wrongChains(wanted)
	if err != nil {
		return fmt.Errorf("check %s: %w", o.Tag, err)
	}
	now, err := t.look(wanted, nil, true)
	if err != nil {
		return fmt.Errorf("check %s: %w", o.Tag, err)
	}
	for _, element := range elements {
		for _, e := range element.entries() {
			if fault := now.fault(e, o.Tag); fault != "" {
				wrong = append(wrong, fmt.Sprintf("%s: map %s %s", element, e.set.name, fault))
			}
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return cni.Errorf(cni.CodeInternal, "firewall of %s: %s", o.Tag, strings.Join(wrong, "; ")).
		WithDetails("run seam check --repair")
}

// fault says what is wrong with an entry, "" if nothing is.
func (s standing) fault(e entry, tag cni.Tag) string {
	h, there := s.held[e.id()]
	switch {
	case !there:
		return "lacks it"
	case h.comment != string(tag):
		return fmt.Sprintf("has it for %s", h.comment)
	case !h.is(e):
		return "has something else for it"
	}
	return ""
}

// wrongChains names the chains that the entries go through whose rules are not
// exactly ours.
func (t *Table) wrongChains(entries []entry) ([]string, error) {
	var wrong []string
	for _, l := range []layout{inetLayout(), bridgeLayout()} {
		if !slices.ContainsFunc(entries, func(e entry) bool { return e.set.table == l.table }) {
			continue
		}
		there, err := t.exists(l.table)
		if err != nil {
			return nil, err
		}
		if !there {
			wrong = append(wrong, fmt.Sprintf("table %s is missing", l.table))
			continue
		}
		held, err := t.rules(l.table, "")
		if err != nil {
			return nil, err
		}
		chains := l.chains
		if l.table == inetSeam {
			chains = append(chains, contentChains(entries)...)
		}
		for _, c := range chains {
			if !same(c.rules, held[c.name]) {
				wrong = append(wrong, fmt.Sprintf("table %s, chain %s: rules are missing or changed", c.table, c.name))
			}
		}
	}
	return wrong, nil
}

func same(ours []rule, held []heldRule) bool {
	return slices.EqualFunc(ours, held, func(r rule, h heldRule) bool { return string(r.id()) == h.userdata })
}
