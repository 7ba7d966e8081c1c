package graph

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	cardWidth = 200
	cardGap   = 16
	cardPad   = 12
	inCard    = cardWidth - 2*cardPad
	mostLines = 4 // of one sort in a card; its tooltip has all
)

// cardHeight is that of a row's fullest card: all have the same.
func cardHeight(row []Attachment) int {
	height := 0
	for _, a := range row {
		height = max(height, a.height())
	}
	return height
}

func (a Attachment) height() int {
	lines := 15*min(len(a.Addresses), mostLines) + 14*min(len(a.Missing), mostLines) + 14*min(len(a.Others), mostLines)
	return 46 + lines + chipRow*len(chipRows(a.Marks))
}

// card draws a container as one of its interfaces has it.
func (a Attachment) card(x, y, height int) shape {
	g := &group{title: a.details()}
	class := "card"
	if a.faulty() {
		class += " lost"
	}
	if a.Reserved {
		g.class = "pale"
	}
	state := a.state()
	g.add(box{x, y, cardWidth, height, 8, class, ""},
		label{x: x + cardPad, y: y + 19, text: fit(a.Container, inCard, nameChar), class: "name ink"},
		label{x: x + cardPad, y: y + 34, text: a.IfName, class: "small faint"},
		label{x: x + cardWidth - cardPad, y: y + 34, text: state, class: "small lostText", anchor: "end"})
	low := y + 50
	line := func(text, class string, char float64, step int) {
		g.add(label{x: x + cardPad, y: low, text: fit(text, inCard, char), class: class})
		low += step
	}
	for _, address := range atMost(a.Addresses, Address{Text: "…"}) {
		if address.Missing {
			line("✗ "+address.Text, "mono lostText", monoChar, 15)
			continue
		}
		line(address.Text, "mono ink", monoChar, 15)
	}
	for _, row := range chipRows(a.Marks) {
		g.add(chips(row, x+cardPad, low-9)...)
		low += chipRow
	}
	for _, m := range atMost(a.Missing, "…") {
		line("✗ "+m, "tiny lostText", textChar, 14)
	}
	for _, o := range atMost(a.Others, "…") {
		line("also "+o, "tiny faint", textChar, 14)
	}
	return g
}

// atMost cuts a list, and says so in the last place.
func atMost[T any](all []T, more T) []T {
	if len(all) <= mostLines {
		return all
	}
	return append(append([]T{}, all[:mostLines-1]...), more)
}

// chipRow is the height of a row of chips.
const chipRow = 20

func chipSize(word string) int { return int(6.1*float64(utf8.RuneCountInString(word))) + 14 }

// chipRows breaks words into rows that a card has room for.
func chipRows(words []string) [][]string {
	var rows [][]string
	left := 0
	for _, w := range words {
		if chipSize(w) > left || len(rows) == 0 {
			rows, left = append(rows, nil), inCard
		}
		rows[len(rows)-1] = append(rows[len(rows)-1], w)
		left -= chipSize(w) + 5
	}
	return rows
}

// chips draws a row of words that have a ground of their own.
func chips(words []string, x, y int) []shape {
	var shapes []shape
	for _, w := range words {
		w = fit(w, inCard, 6.1)
		shapes = append(shapes, box{x, y, chipSize(w), 16, 8, "chip", ""},
			label{x: x + chipSize(w)/2, y: y + 12, text: w, class: "chipText", anchor: "middle"})
		x += chipSize(w) + 5
	}
	return shapes
}

func (a Attachment) state() string {
	switch {
	case a.Reserved:
		return "reserved"
	case a.Gone:
		return "namespace gone"
	}
	return ""
}

// details is what a card's tooltip says: all, and nothing cut.
func (a Attachment) details() string {
	lines := []string{a.Container, "ID " + a.ID, a.IfName}
	if a.HostEnd != "" {
		lines[2] += " at " + a.HostEnd
	}
	for _, address := range a.Addresses {
		lines = append(lines, address.Text)
	}
	for _, p := range a.Ports {
		lines = append(lines, "port "+p.text())
	}
	lines = append(lines, a.Marks...)
	for _, m := range a.Missing {
		lines = append(lines, fmt.Sprintf("missing: %s", m))
	}
	for _, o := range a.Others {
		lines = append(lines, "also "+o)
	}
	return strings.Join(lines, "\n")
}
