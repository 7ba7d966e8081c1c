package nft

import (
	"fmt"
	"strings"

	"github.com/seamnet/seam/cni"
)

// Faults says of each of a record's elements what of it is not in the kernel as Put
// leaves it, "" if all is: "missing", "another's" with the tag of its holder, "changed",
// or which rules lack without which it has no effect. It lists rules, and is for people's
// questions.
func (t *Table) Faults(r Record) ([]string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	faults := make([]string, len(r.Elements))
	for i, e := range r.Elements {
		var err error
		if faults[i], err = t.elementFault(r.Tag, e); err != nil {
			return nil, fmt.Errorf("look for %s of %s: %w", e, r.Tag, err)
		}
	}
	return faults, nil
}

func (t *Table) elementFault(tag cni.Tag, e Element) (string, error) {
	wanted, err := compile([]Element{e})
	if err != nil {
		return "", err
	}
	now, err := t.look(nil, wanted, true)
	if err != nil {
		return "", err
	}
	for _, entry := range wanted {
		h, there := now.held[entry.id()]
		switch {
		case !there:
			return "missing", nil
		case h.comment != string(tag):
			return "another's: " + h.comment, nil
		case !h.is(entry):
			return "changed", nil
		}
	}
	wrong, err := t.wrongChains(wanted)
	return strings.Join(wrong, "; "), err
}
