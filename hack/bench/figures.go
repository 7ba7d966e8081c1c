package main

import (
	"cmp"
	"slices"
	"time"
)

// A Cell is one place of the tables.
type Cell struct {
	Verb      string // ADD or DEL
	Contender string
	Chain     string
	Present   int // as planned; Figures.Present has how many there were
	Together  bool
}

// Figures are all that a run measured.
type Figures struct {
	Plan     Plan
	Costs    map[Cell][]Cost
	Present  map[Cell]int                 // by Contender, Chain and Present alone
	Parts    map[Cell]map[string][]Cost   // steps of what was done alone
	Programs map[Cell]map[string][]string // by Contender and Chain alone, then by verb; a missing one was not counted
	Start    map[string][]Cost            // of a program that does nothing, by contender
	State    map[string]string            // that Seam and the floor both make, by chain
	Order    map[Cell][]string            // of the names of Parts
	Speeds   map[Stream][]float64         // bits per second
	Took     time.Duration
}

func newFigures(p Plan) *Figures {
	return &Figures{
		Plan: p, Costs: make(map[Cell][]Cost), Present: make(map[Cell]int),
		Parts: make(map[Cell]map[string][]Cost), Order: make(map[Cell][]string),
		Programs: make(map[Cell]map[string][]string), Start: make(map[string][]Cost), State: make(map[string]string),
		Speeds: make(map[Stream][]float64),
	}
}

// take enters what a host replied to an order.
func (f *Figures) take(h Host, planned int, together bool, r Reply) {
	at := func(verb string) Cell { return Cell{verb, h.Contender, h.Chain, planned, together} }
	f.Costs[at("ADD")] = append(f.Costs[at("ADD")], r.Add...)
	f.Costs[at("DEL")] = append(f.Costs[at("DEL")], r.Del...)
	for _, n := range r.Notes {
		c := at(n.Verb)
		if f.Parts[c] == nil {
			f.Parts[c] = make(map[string][]Cost)
		}
		if f.Parts[c][n.Part] == nil {
			f.Order[c] = append(f.Order[c], n.Part)
		}
		f.Parts[c][n.Part] = append(f.Parts[c][n.Part], Cost{Wall: n.Took})
	}
}

// quantile returns the cost below which share of them lie, by wall clock and by CPU
// each; zero if there are none.
func quantile(costs []Cost, share float64) Cost {
	return Cost{
		Wall: pick(costs, share, func(c Cost) time.Duration { return c.Wall }),
		CPU:  pick(costs, share, func(c Cost) time.Duration { return c.CPU }),
	}
}

func pick(costs []Cost, share float64, of func(Cost) time.Duration) time.Duration {
	if len(costs) == 0 {
		return 0
	}
	values := make([]time.Duration, len(costs))
	for i, c := range costs {
		values[i] = of(c)
	}
	slices.SortFunc(values, cmp.Compare)
	return values[int(share*float64(len(values)-1)+0.5)]
}

func median(costs []Cost) Cost { return quantile(costs, 0.5) }

// median returns that of a cell; zero if it was not measured.
func (f *Figures) median(c Cell) Cost { return median(f.Costs[c]) }

// ratio returns how many times the wall clock of base that of c is; 0 if either was
// not measured.
func (f *Figures) ratio(c, base Cell) float64 {
	b := f.median(base).Wall
	if b == 0 {
		return 0
	}
	return float64(f.median(c).Wall) / float64(b)
}
