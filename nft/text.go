package nft

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Text returns what is in the kernel, as "nft list table" prints it, without that
// program: the tables that are there, with rules that are not Seam's marked as such.
func (t *Table) Text() (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	for _, l := range []layout{inetLayout(), bridgeLayout()} {
		there, err := t.exists(l.table)
		if err == nil && there {
			err = t.writeTable(&b, l)
		}
		if err != nil {
			return "", fmt.Errorf("list table %s: %w", l.table, err)
		}
	}
	return b.String(), nil
}

func (t *Table) writeTable(b *strings.Builder, l layout) error {
	known := make(map[string]string) // text by id
	learn := func(rules []rule) {
		for _, r := range rules {
			known[string(r.id())] = r.text
		}
	}
	var blocks []string
	for _, s := range l.sets {
		held, err := t.elements(s)
		if err != nil {
			return err
		}
		blocks = append(blocks, s.text(held))
	}
	hooks := make(map[string]string)
	for _, c := range l.chains {
		learn(c.rules)
		if c.hook != nil {
			hooks[c.name] = c.hook.text
		}
	}
	recorded, err := t.recordedEntries()
	for _, r := range recorded {
		for _, c := range contentChains(r.entries) {
			learn(c.rules)
		}
	}
	chains, err2 := t.chains(l.table)
	rules, err3 := t.rules(l.table, "")
	for _, err := range []error{err, err2, err3} {
		if err != nil {
			return err
		}
	}
	for _, c := range chains {
		blocks = append(blocks, chainText(c.name, hooks[c.name], rules[c.name], known))
	}
	fmt.Fprintf(b, "table %s {\n%s}\n", l.table, strings.Join(blocks, "\n"))
	return nil
}

func chainText(name, hook string, rules []heldRule, known map[string]string) string {
	s := "\tchain " + name + " {\n"
	if hook != "" {
		s += "\t\t" + hook + "\n"
	}
	for _, r := range rules {
		text, ok := known[r.userdata]
		if !ok {
			text = fmt.Sprintf("# a rule that is not Seam's: nft -a shows it as handle %d", r.handle)
		}
		s += "\t\t" + text + "\n"
	}
	return s + "\t}\n"
}

func (s set) text(held []heldElement) string {
	kind, types := "set", words(s.key)
	if s.value != nil {
		kind, types = "map", types+" : "+words(s.value)
	}
	text := fmt.Sprintf("\t%s %s {\n\t\ttype %s\n", kind, s.name, types)
	slices.SortFunc(held, func(a, b heldElement) int { return strings.Compare(string(a.key), string(b.key)) })
	var elements []string
	for _, h := range held {
		elements = append(elements, s.elementText(h))
	}
	if len(elements) > 0 {
		text += "\t\telements = { " + strings.Join(elements, ", ") + " }\n"
	}
	return text + "\t}\n"
}

func words(types []datatype) string {
	list := make([]string, len(types))
	for i, d := range types {
		list[i] = d.word()
	}
	return strings.Join(list, " . ")
}

func (s set) elementText(h heldElement) string {
	text := valueText(s.key, h.key)
	if h.comment != "" {
		text += fmt.Sprintf(" comment %q", h.comment)
	}
	switch {
	case h.chain != "":
		verb := map[expr.VerdictKind]string{expr.VerdictGoto: "goto", expr.VerdictJump: "jump"}[h.verdict]
		text += " : " + verb + " " + h.chain
	case s.value != nil:
		text += " : " + valueText(s.value, h.data)
	}
	return text
}

func valueText(types []datatype, b []byte) string {
	list := make([]string, 0, len(types))
	for _, d := range types {
		if len(b) < d.size() {
			return fmt.Sprintf("%x", b)
		}
		list = append(list, d.text(b[:d.size()]))
		b = b[d.size():]
	}
	return strings.Join(list, " . ")
}

func (d datatype) text(b []byte) string {
	switch d {
	case typeIPv4, typeIPv6:
		a, _ := netip.AddrFromSlice(b)
		return a.String()
	case typeEther:
		return net.HardwareAddr(b[:6]).String()
	case typeService:
		return fmt.Sprint(binary.BigEndian.Uint16(b))
	case typeIfname:
		return fmt.Sprintf("%q", unix.ByteSliceToString(b))
	case typeProto:
		for _, p := range []Protocol{TCP, UDP, SCTP} {
			if p.Number() == b[0] {
				return string(p)
			}
		}
	}
	return fmt.Sprint(b[0])
}
