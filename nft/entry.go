package nft

import (
	"iter"

	"github.com/google/nftables/expr"
)

// An entry is an element of one set, as the kernel holds it.
type entry struct {
	set     set
	key     []byte
	data    []byte // of a map of values
	verdict expr.VerdictKind
	chain   *chain // where the verdict leads; nil: no map of verdicts
	sole    string // what it is called when another attachment holds it; empty: the later one has it
}

// id is one for every place in the kernel where an entry can be.
func (e entry) id() string {
	return string(e.set.table.family) + e.set.name + "\x00" + string(e.key)
}

// compile returns the entries of all elements, each key once: the later element
// has it.
func compile(elements []Element) ([]entry, error) {
	var entries []entry
	at := make(map[string]int)
	for _, element := range elements {
		if err := element.validate(); err != nil {
			return nil, err
		}
		for _, e := range element.entries() {
			if i, ok := at[e.id()]; ok {
				entries[i] = e
				continue
			}
			at[e.id()] = len(entries)
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// without returns the entries whose places are not among those of others.
func without(entries, others []entry) []entry {
	taken := make(map[string]bool, len(others))
	for _, e := range others {
		taken[e.id()] = true
	}
	var rest []entry
	for _, e := range entries {
		if !taken[e.id()] {
			rest = append(rest, e)
		}
	}
	return rest
}

// contentChains are the chains that the entries lead to, each once.
func contentChains(entries []entry) []chain {
	var chains []chain
	for _, e := range entries {
		if e.chain != nil {
			chains = withChain(chains, *e.chain)
		}
	}
	return chains
}

// homes are the static chains that lead to the entries, each once.
func homes(entries []entry) []chain {
	var chains []chain
	for s := range bySet(entries) {
		for _, home := range s.homes {
			chains = withChain(chains, home())
		}
	}
	return chains
}

func withChain(chains []chain, c chain) []chain {
	for _, have := range chains {
		if have.table == c.table && have.name == c.name {
			return chains
		}
	}
	return append(chains, c)
}

// bySet yields each set with its entries.
func bySet(entries []entry) iter.Seq2[set, []entry] {
	return func(yield func(set, []entry) bool) {
		for len(entries) > 0 {
			s := entries[0].set
			var own, rest []entry
			for _, e := range entries {
				if e.set.table == s.table && e.set.name == s.name {
					own = append(own, e)
				} else {
					rest = append(rest, e)
				}
			}
			if !yield(s, own) {
				return
			}
			entries = rest
		}
	}
}
