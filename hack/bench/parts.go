package main

import "time"

// parts collects how long the steps of an operation took.
type parts struct{ notes chan note }

// A note is one step of one operation.
type note struct {
	Verb, Part string
	Took       time.Duration
}

func newParts() *parts { return &parts{make(chan note, 4096)} }

// note keeps a step; when nobody fetches them any more, new ones are lost.
func (p *parts) note(verb, part string, took time.Duration) {
	select {
	case p.notes <- note{verb, part, took}:
	default:
	}
}

// fetch returns what came since the last time.
func (p *parts) fetch() (all []note) {
	for {
		select {
		case n := <-p.notes:
			all = append(all, n)
		default:
			return all
		}
	}
}

// A stopwatch splits one operation into steps.
type stopwatch struct {
	parts *parts
	verb  string
	last  time.Time
}

func (p *parts) watch(verb string) *stopwatch { return &stopwatch{p, verb, time.Now()} }

func (w *stopwatch) lap(part string) {
	now := time.Now()
	w.parts.note(w.verb, part, now.Sub(w.last))
	w.last = now
}
