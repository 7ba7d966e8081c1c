package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A picture draws frames as text.
type picture struct {
	head          string // what is said at the top, beside the sums
	width, height int    // of the window; 0: no bounds
	colours       bool
	whole         bool // container IDs are not cut
}

// A column is one of a table of lines that each are about a T.
type column[T any] struct {
	heading string
	right   bool // aligned; else left
	worth   int  // columns of less go first where the window is too narrow
	cell    func(T) string
}

// Beginnings of lines that stand out.
const (
	headStyle  = "\x1b[1m"
	faultStyle = "\x1b[31m"
	faintStyle = "\x1b[2m"
)

// draw returns the frame's lines, no more and no longer than the window.
func (p picture) draw(f *frame) []string {
	lines := []string{p.line(headStyle, f.summary(p.head))}
	for _, problem := range f.Problems {
		lines = append(lines, p.line(faultStyle, "not read: "+problem))
	}
	if len(f.Networks) > 0 {
		lines = append(lines, "")
		room := max(3, p.height/3)
		lines = append(lines, rowsOf(p, networkColumns(), f.Networks, room)...)
	}
	lines = append(lines, "")
	if len(f.Attachments) == 0 {
		return p.cut(append(lines, p.line(faintStyle, "nothing is attached")))
	}
	return p.cut(append(lines, rowsOf(p, attachmentColumns(p.whole), f.Attachments, p.height-len(lines))...))
}

func (p picture) cut(lines []string) []string {
	if p.height > 0 && len(lines) > p.height {
		return lines[:p.height]
	}
	return lines
}

// summary is the first line of a frame.
func (f *frame) summary(head string) string {
	var all measured
	for _, n := range f.Networks {
		all.Total = all.Total.plus(n.Total)
		if n.PerSecond != nil {
			sum := n.PerSecond.plus(all.rate())
			all.PerSecond = &sum
		}
	}
	text := fmt.Sprintf("%s  %s, %s", f.Time.Format("15:04:05"), count(len(f.Networks), "network"), count(len(f.Attachments), "attachment"))
	if all.PerSecond != nil {
		text += fmt.Sprintf("  in %sB/s  out %sB/s", short(all.PerSecond.ReceivedBytes), short(all.PerSecond.SentBytes))
	}
	if head != "" {
		text += "  " + head
	}
	return text
}

// rate is perSecond, zero if that is not known.
func (m measured) rate() traffic {
	if m.PerSecond == nil {
		return traffic{}
	}
	return *m.PerSecond
}

// line pads a line's text to the window, or cuts it, and gives it a style.
func (p picture) line(style, text string) string {
	text = printable(text)
	if p.width > 0 && utf8.RuneCountInString(text) > p.width {
		text = string([]rune(text)[:p.width-1]) + "…"
	}
	if !p.colours || style == "" {
		return text
	}
	return style + text + plain
}

// printable takes from a text what a terminal would obey: names are the runtimes'.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, text)
}

// styled is implemented by what has lines of a style of their own.
type styled interface{ style() string }

func (n watchedNetwork) style() string { return "" }

func (w watched) style() string {
	switch w.State {
	case attached:
		return ""
	case "reserved":
		return faintStyle
	}
	return faultStyle
}

// rowsOf draws the columns that the window has room for, and as many rows as room says;
// in a window without bounds, all.
func rowsOf[T styled](p picture, columns []column[T], all []T, room int) []string {
	shown := all
	if p.height > 0 && len(all)+1 > room {
		shown = all[:max(0, room-2)] // one line for the headings, one to say how many there are
	}
	cells, widths := cellsOf(columns, shown)
	kept := fitting(columns, widths, p.width)
	var lines []string
	for i, row := range cells {
		var b strings.Builder
		for _, k := range kept {
			gap := strings.Repeat(" ", widths[k]-utf8.RuneCountInString(row[k]))
			if columns[k].right {
				b.WriteString(gap + row[k] + "  ")
			} else {
				b.WriteString(row[k] + gap + "  ")
			}
		}
		style := headStyle
		if i > 0 {
			style = shown[i-1].style()
		}
		lines = append(lines, p.line(style, strings.TrimRight(b.String(), " ")))
	}
	if rest := len(all) - len(shown); rest > 0 {
		lines = append(lines, p.line(faintStyle, fmt.Sprintf("… %d more; a larger window, seam ls --watch NETWORK or --sort shows others", rest)))
	}
	return lines
}

// cellsOf returns the headings and all rows' cells, and how wide each column is.
func cellsOf[T any](columns []column[T], rows []T) (cells [][]string, widths []int) {
	cells, widths = make([][]string, len(rows)+1), make([]int, len(columns))
	for i := range cells {
		cells[i] = make([]string, len(columns))
		for k, c := range columns {
			cell := c.heading
			if i > 0 {
				cell = orElse(c.cell(rows[i-1]), "-")
			}
			cells[i][k] = cell
			widths[k] = max(widths[k], utf8.RuneCountInString(cell))
		}
	}
	return cells, widths
}

// fitting returns the columns that a window has room for, in their order.
func fitting[T any](columns []column[T], widths []int, window int) []int {
	kept := make([]int, len(columns))
	wide := 0
	for k := range columns {
		kept[k] = k
		wide += widths[k] + 2
	}
	for window > 0 && wide-2 > window && len(kept) > 1 {
		least := 0
		for i, k := range kept {
			if columns[k].worth < columns[kept[least]].worth {
				least = i
			}
		}
		wide -= widths[kept[least]] + 2
		kept = slices.Delete(kept, least, least+1)
	}
	return kept
}
