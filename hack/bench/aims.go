package main

import (
	"fmt"
	"strings"
)

// An aim is a ratio that must not be passed, and what it came to under each
// condition.
type aim struct {
	text    string
	limit   float64
	figures []figure
}

// A figure is one ratio; 0 says that it was not measured.
type figure struct {
	where string
	value float64
	note  string
}

// aims are those that Seam set itself.
func (f *Figures) aims() []aim {
	compared, whole := f.Plan.Compared, f.Plan.Whole
	many := compared.most()
	at := func(verb, contender, chain string) Cell { return Cell{verb, contender, chain, 0, false} }
	perChain := func(s Set, verb, contender, base string) (list []figure) {
		for _, chain := range s.Chains {
			list = append(list, figure{where: chain, value: f.ratio(at(verb, contender, chain), at(verb, base, chain))})
		}
		return list
	}
	// each compares a cell with a variant of it, for whatever of Seam's can vary.
	each := func(vary func(Cell) Cell, withFloor bool) (list []figure) {
		for _, chain := range compared.Chains {
			for _, contender := range []string{executed, inProcess} {
				for _, verb := range []string{"ADD", "DEL"} {
					c := at(verb, contender, chain)
					fig := figure{where: fmt.Sprintf("%s, %s, %s", verb, strings.TrimPrefix(contender, "Seam "), chain), value: f.ratio(vary(c), c)}
					if c.Contender = floorName; withFloor && f.ratio(vary(c), c) > 0 {
						fig.note = fmt.Sprintf("the floor itself %.2f", f.ratio(vary(c), c))
					}
					list = append(list, fig)
				}
			}
		}
		return list
	}
	return []aim{
		{"Executed, ADD takes at most 1/8 of the reference's time", 1. / 8, perChain(compared, "ADD", executed, reference)},
		{"Executed, DEL takes at most 1/3 of the reference's time", 1. / 3, perChain(compared, "DEL", executed, reference)},
		{"In process, ADD takes at most 2.5 times the floor's time", 2.5, perChain(compared, "ADD", inProcess, floorName)},
		{fmt.Sprintf("With %s attachments present, at most 1.2 times the time with none", thousands(many)), 1.2,
			each(func(c Cell) Cell { c.Present = many; return c }, true)},
		{fmt.Sprintf("%d at a time are no slower in sum than one after another", f.Plan.Width), 1,
			each(func(c Cell) Cell { c.Together = true; return c }, false)},
		{"Whole chains executed, ADD takes at most 1/10 of the reference's time", 1. / 10, perChain(whole, "ADD", executed, reference)},
		{"Whole chains in process, ADD takes at most 1/30 of the reference's time", 1. / 30, perChain(whole, "ADD", inProcess, reference)},
		{"Whole chains are flat: with many attachments present, at most 1.2 times the time with none", 1.2, f.flatness()},
	}
}

// flatness compares whole chains with themselves where none is present.
func (f *Figures) flatness() (list []figure) {
	for _, chain := range f.Plan.Whole.Chains {
		for _, contender := range []string{executed, inProcess} {
			for _, verb := range []string{"ADD", "DEL"} {
				for _, present := range f.Plan.Whole.Present[1:] {
					where := fmt.Sprintf("%s, %s, %s, %s present", verb, strings.TrimPrefix(contender, "Seam "), chain, thousands(present))
					list = append(list, figure{where: where, value: f.ratio(Cell{verb, contender, chain, present, false}, Cell{verb, contender, chain, 0, false})})
				}
			}
		}
	}
	return list
}

// sentence says whether the aim is met, and if not by how much it is missed.
func (a aim) sentence() string {
	var measured, missed int
	for _, fig := range a.figures {
		if fig.value > 0 {
			measured++
		}
		if fig.value > a.limit {
			missed++
		}
	}
	switch {
	case measured == 0:
		return fmt.Sprintf("- %s: **not measured**.", a.text)
	case missed == 0:
		return fmt.Sprintf("- %s: **met**. %s.", a.text, a.list())
	case missed == measured:
		return fmt.Sprintf("- %s: **missed**. %s.", a.text, a.list())
	}
	return fmt.Sprintf("- %s: **missed in %d of %d**. %s.", a.text, missed, measured, a.list())
}

func (a aim) list() string {
	var items []string
	for _, fig := range a.figures {
		if fig.value == 0 {
			continue
		}
		item := fig.where + ": " + a.format(fig.value)
		var notes []string
		if fig.value > a.limit {
			notes = append(notes, fmt.Sprintf("**too slow by %.0f %%**", (fig.value/a.limit-1)*100))
		}
		if fig.note != "" {
			notes = append(notes, fig.note)
		}
		if len(notes) > 0 {
			item += " (" + strings.Join(notes, "; ") + ")"
		}
		items = append(items, item)
	}
	return strings.Join(items, "; ")
}

// format writes a ratio as the aim does: as a fraction below 1/2.
func (a aim) format(value float64) string {
	if a.limit < 0.5 {
		return fmt.Sprintf("1/%.1f", 1/value)
	}
	return fmt.Sprintf("%.2f", value)
}

func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}
