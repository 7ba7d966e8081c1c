package nft

import "fmt"

// Records returns what all owners have, by their records. The error names those that
// cannot be read; the others are returned.
func (t *Table) Records() ([]Record, error) { return t.records.all() }

// RuleText returns the rule of one of Seam's tables in nft's words, "" if it is not Seam's.
func (t *Table) RuleText(e Event) (string, error) {
	var own layout
	for _, l := range []layout{inetLayout(), bridgeLayout()} {
		if e.Family+" "+e.Table == l.table.String() {
			own = l
		}
	}
	if own.chains == nil || e.Handle == 0 {
		return "", nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	rules, err := t.rules(own.table, e.Chain)
	if err != nil {
		return "", fmt.Errorf("rule %d of %s %s: %w", e.Handle, own.table, e.Chain, err)
	}
	for _, r := range rules[e.Chain] {
		if r.handle == e.Handle {
			return t.textOf(own, r)
		}
	}
	return "", nil
}

// textOf knows a rule by its user data, as the chains' own rules have it.
func (t *Table) textOf(l layout, held heldRule) (string, error) {
	recorded, err := t.recordedEntries()
	chains := l.chains
	for _, r := range recorded {
		chains = append(chains, contentChains(r.entries)...)
	}
	for _, c := range chains {
		for _, r := range c.rules {
			if string(r.id()) == held.userdata {
				return r.text, nil
			}
		}
	}
	return "", err
}
