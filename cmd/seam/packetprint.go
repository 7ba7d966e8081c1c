package main

import (
	"fmt"
	"strings"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/trail"
)

// printWay prints the steps under numbers, and then what became of the packet. Names and
// rules in it are also the container's, which may be hostile to terminals.
func (c *cli) printWay(r *seam.Record, w *trail.Way) {
	fmt.Fprintf(c.out, "%s  %s, %s of %s\n\n", w.Protocol, w.Packet, r.IfName, printable(orElse(r.Name, r.ContainerID)))
	var last trail.Where
	for i, s := range w.Steps {
		where := string(s.Where)
		if s.Where == last {
			where = ""
		}
		last = s.Where
		if i > 0 && s.Kind == "translation" && s.Rule == w.Steps[i-1].Rule {
			s.Rule = nil // it has just been told
		}
		fmt.Fprintf(c.out, "%3d  %-9s  %s\n", i+1, where, printable(passageText(s)))
	}
	fmt.Fprintf(c.out, "\n%s\n", outcomeText(w))
	for _, h := range w.Hints {
		fmt.Fprintf(c.out, "hint: %s\n", printable(h))
	}
	for _, n := range w.Notes {
		fmt.Fprintf(c.out, "not known: %s\n", printable(oneLine(n)))
	}
}

func passageText(s trail.Step) string {
	text := s.Text
	switch {
	case s.Dropped:
		text = "✗ " + text
	case s.Kind == "translation" && s.Rule != nil:
		text = fmt.Sprintf("%s  (%s %s/%s: %s)", text, s.Rule.Family, s.Rule.Table, s.Rule.Chain, s.Rule)
	case s.Kind == "rule" && s.Rule != nil:
		text = fmt.Sprintf("%s %s/%s: %s", s.Rule.Family, s.Rule.Table, s.Rule.Chain, s.Rule)
	}
	if s.Rule != nil && len(s.Rule.Wanted) > 0 {
		text += "  [wanted by " + strings.Join(s.Rule.Wanted, ", ") + "]"
	}
	return text
}

func outcomeText(w *trail.Way) string {
	text := string(w.Outcome)
	if !w.Probed {
		text = "looked up; nothing was sent"
	}
	if w.Detail != "" {
		text += ": " + w.Detail
	}
	mark := "✓"
	if w.Outcome == trail.NoAnswer {
		mark = "?"
	}
	if !w.Passes() {
		mark = "✗"
	}
	return mark + " " + text
}
