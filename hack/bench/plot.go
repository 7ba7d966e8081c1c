package main

import (
	"fmt"
	"math"
	"strings"
)

// Of the plot, in its own units.
const (
	plotWidth   = 860
	plotHeight  = 440
	plotLeft    = 56
	plotTop     = 56
	plotBottom  = 372
	groupGap    = 16
	shortestBar = 2
)

// plotStyle has no background of its own, and colours that stand on light and dark.
const plotStyle = `<style>
text { font: 12px system-ui, sans-serif; fill: #57606a }
.title { font-size: 15px; font-weight: 600; fill: #24292f }
.value { font-size: 10px }
line { stroke: #8b949e; stroke-opacity: .35 }
.c0 { fill: #8b949e } .c1 { fill: #2f81f7 } .c2 { fill: #2da44e } .c3 { fill: #bf8700 }
@media (prefers-color-scheme: dark) { text { fill: #9ea7b3 } .title { fill: #e6edf3 } }
</style>
`

// alone returns those of the rows that are measured one at a time.
func alone(rows []Cell) (list []Cell) {
	for _, row := range rows {
		if !row.Together {
			list = append(list, row)
		}
	}
	return list
}

// plot draws the wall clock of the rows as bars, on a logarithmic scale.
func (f *Figures) plot(rows []Cell) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="ADD in milliseconds">`+"\n", plotWidth, plotHeight)
	b.WriteString(plotStyle)
	fmt.Fprintf(&b, `<text class="title" x="%d" y="20">ADD of one attachment, milliseconds (median, logarithmic scale)</text>`+"\n", plotLeft)
	contenders := []string{reference, executed, inProcess, floorName}
	for i, name := range contenders {
		x := plotLeft + i*150
		fmt.Fprintf(&b, `<rect class="c%d" x="%d" y="32" width="12" height="12" rx="2"/><text x="%d" y="42">%s</text>`+"\n", i, x, x+18, name)
	}
	s := f.scale(rows, contenders)
	s.draw(&b)
	group := float64(plotWidth-plotLeft-groupGap) / float64(len(rows))
	bar := (group - groupGap) / float64(len(contenders))
	for i, row := range rows {
		left := plotLeft + groupGap/2 + float64(i)*group
		for j, contender := range contenders {
			row.Contender = contender
			if ms := milliseconds(f.median(row).Wall); ms > 0 {
				s.bar(&b, j, left+float64(j)*bar, bar, ms)
			}
		}
		f.label(&b, row, left+(group-groupGap)/2)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// label says below the bars under which condition they are.
func (f *Figures) label(b *strings.Builder, row Cell, middle float64) {
	width := 1
	if row.Together {
		width = f.Plan.Width
	}
	lines := []string{row.Chain, thousands(row.Present) + " present", fmt.Sprintf("%d at a time", width)}
	for i, line := range lines {
		fmt.Fprintf(b, `<text class="value" text-anchor="middle" x="%.1f" y="%d">%s</text>`+"\n", middle, plotBottom+18+15*i, line)
	}
}

// A scale is logarithmic, between powers of ten.
type scale struct{ low, high float64 }

func (f *Figures) scale(rows []Cell, contenders []string) scale {
	s := scale{math.Inf(1), math.Inf(-1)}
	for _, row := range rows {
		for _, row.Contender = range contenders {
			if ms := milliseconds(f.median(row).Wall); ms > 0 {
				s.low, s.high = min(s.low, math.Floor(math.Log10(ms))), max(s.high, math.Ceil(math.Log10(ms)))
			}
		}
	}
	if s.low >= s.high {
		return scale{-1, 3}
	}
	return s
}

func (s scale) y(ms float64) float64 {
	share := (math.Log10(ms) - s.low) / (s.high - s.low)
	return plotBottom - share*(plotBottom-plotTop)
}

func (s scale) draw(b *strings.Builder) {
	for power := s.low; power <= s.high; power++ {
		y := s.y(math.Pow(10, power))
		fmt.Fprintf(b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text text-anchor="end" x="%d" y="%.1f">%g</text>`+"\n",
			plotLeft, plotWidth-groupGap/2, y, y, plotLeft-6, y+4, math.Pow(10, power))
	}
}

func (s scale) bar(b *strings.Builder, colour int, x, width, ms float64) {
	y := min(s.y(ms), plotBottom-shortestBar)
	fmt.Fprintf(b, `<rect class="c%d" x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="1"/>`+"\n", colour, x+0.5, y, width-1, plotBottom-y)
	fmt.Fprintf(b, `<text class="value" text-anchor="middle" x="%.1f" y="%.1f">%s</text>`+"\n", x+width/2, y-3, short(ms))
}

// short writes milliseconds in the width of a bar.
func short(ms float64) string {
	if ms >= 10 {
		return fmt.Sprintf("%.0f", ms)
	}
	return fmt.Sprintf("%.1f", ms)
}
