package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// page writes the figures as docs/benchmarks.md.
func (f *Figures) page(m Machine) string {
	var b strings.Builder
	b.WriteString("# Benchmarks\n\n")
	b.WriteString("`make bench` measured this and wrote this page, all in one run; nothing here is edited by hand.\n\n")
	b.WriteString("![ADD by contender and condition](benchmarks.svg)\n\n" +
		"![ADD of whole chains, one at a time](benchmarks-chains.svg)\n\n## Aims\n\n")
	for _, a := range f.aims() {
		b.WriteString(a.sentence() + "\n")
	}
	b.WriteString("\nMedians of the wall clock. Conditions that an aim does not name: none present, one at a time.\n\n")
	f.writeTables(&b)
	f.writeData(&b)
	f.writePrograms(&b)
	f.writeParts(&b)
	f.writeMethod(&b, m)
	return b.String()
}

func (f *Figures) writeTables(b *strings.Builder) {
	b.WriteString("## Times\n\nMilliseconds of one attachment: the median and, in brackets, the 90th percentile. " +
		"Of several at a time it is each one's share: the time until all were done, divided by how many they were.\n\n")
	for _, verb := range []string{"ADD", "DEL"} {
		fmt.Fprintf(b, "### %s, wall clock\n\n", verb)
		f.writeTable(b, f.Plan.Compared, verb, func(c Cost) time.Duration { return c.Wall })
		f.writeTable(b, f.Plan.Whole, verb, func(c Cost) time.Duration { return c.Wall })
	}
	b.WriteString("CPU time is user's and system's, of the calling process and of all that it executed.\n\n")
	for _, verb := range []string{"ADD", "DEL"} {
		fmt.Fprintf(b, "### %s, CPU\n\n", verb)
		f.writeTable(b, f.Plan.Compared, verb, func(c Cost) time.Duration { return c.CPU })
		f.writeTable(b, f.Plan.Whole, verb, func(c Cost) time.Duration { return c.CPU })
	}
	f.writeShortfalls(b)
}

func (f *Figures) writeTable(b *strings.Builder, s Set, verb string, of func(Cost) time.Duration) {
	fmt.Fprintf(b, "| chain | present | at a time | %s | %s | %s | %s | executed / reference | in process / reference | in process / floor |\n",
		reference, executed, inProcess, floorName)
	b.WriteString("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, row := range f.rows(s, verb) {
		width := 1
		if row.Together {
			width = f.Plan.Width
		}
		fmt.Fprintf(b, "| %s | %s | %d |", recipeOf(row.Chain).title, thousands(row.Present), width)
		value := make(map[string]float64)
		for _, contender := range []string{reference, executed, inProcess, floorName} {
			c := row
			c.Contender = contender
			value[contender] = milliseconds(of(f.median(c)))
			b.WriteString(" " + f.entry(c, of) + " |")
		}
		fmt.Fprintf(b, " %s | %s | %s |\n", fraction(value[executed], value[reference]),
			fraction(value[inProcess], value[reference]), fraction(value[inProcess], value[floorName]))
	}
	b.WriteString("\n")
}

// rows are the conditions, each as a cell without a contender.
func (f *Figures) rows(s Set, verb string) (rows []Cell) {
	for _, chain := range s.Chains {
		for _, present := range s.Present {
			for _, together := range []bool{false, true} {
				rows = append(rows, Cell{Verb: verb, Chain: chain, Present: present, Together: together})
			}
		}
	}
	return rows
}

func (f *Figures) entry(c Cell, of func(Cost) time.Duration) string {
	costs := f.Costs[c]
	if len(costs) == 0 {
		return notMeasured
	}
	return fmt.Sprintf("%s (%s)", digits(of(median(costs))), digits(of(quantile(costs, 0.9))))
}

const notMeasured = "n/a"

func fraction(a, b float64) string {
	switch {
	case a == 0 || b == 0:
		return notMeasured
	case a < b/2:
		return fmt.Sprintf("1/%.1f", b/a)
	}
	return fmt.Sprintf("%.2f", a/b)
}

// digits writes milliseconds with three digits that count.
func digits(d time.Duration) string {
	switch ms := milliseconds(d); {
	case ms >= 100:
		return fmt.Sprintf("%.0f", ms)
	case ms >= 10:
		return fmt.Sprintf("%.1f", ms)
	case ms >= 1:
		return fmt.Sprintf("%.2f", ms)
	default:
		return fmt.Sprintf("%.3f", ms)
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// writeShortfalls tells where fewer were present than the row says.
func (f *Figures) writeShortfalls(b *strings.Builder) {
	for c, were := range f.Present {
		if were < c.Present {
			fmt.Fprintf(b, "With %s, the %s had only %s present, not %s: more were not made within %s.\n\n",
				c.Chain, c.Contender, thousands(were), thousands(c.Present), f.Plan.Prefill)
		}
	}
	fmt.Fprintf(b, "%s: not measured, as the chain has no floor, or as making more than %d attachments present takes the reference too long.\n\n",
		notMeasured, f.Plan.Whole.ReferencePresent)
}

func (f *Figures) writePrograms(b *strings.Builder) {
	b.WriteString("## Programs executed per call\n\n")
	b.WriteString("As `strace -f -e trace=execve` counts them; a number before a name: so many times.\n\n")
	b.WriteString("| chain | contender | ADD | DEL |\n|---|---|---|---|\n")
	for _, chain := range append(slices.Clone(f.Plan.Compared.Chains), f.Plan.Whole.Chains...) {
		for _, contender := range f.Plan.contenders(f.Plan.Whole, chain, 0) {
			fmt.Fprintf(b, "| %s | %s |", chain, contender)
			of, counted := f.Programs[Cell{Contender: contender, Chain: chain}]
			for _, verb := range []string{"ADD", "DEL"} {
				if counted {
					fmt.Fprintf(b, " %s |", tally(of[verb]))
				} else {
					fmt.Fprintf(b, " %s |", notMeasured)
				}
			}
			b.WriteString("\n")
		}
	}
	b.WriteString("\n")
}

// tally writes how many there are, and how many of each.
func tally(names []string) string {
	if len(names) == 0 {
		return "0"
	}
	count := make(map[string]int)
	var order []string
	for _, n := range names {
		if count[n]++; count[n] == 1 {
			order = append(order, n)
		}
	}
	slices.SortStableFunc(order, func(a, b string) int { return count[b] - count[a] })
	for i, n := range order {
		if count[n] > 1 {
			order[i] = fmt.Sprintf("%d %s", count[n], n)
		}
	}
	return fmt.Sprintf("**%d**: %s", len(names), strings.Join(order, ", "))
}
