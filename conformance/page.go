package conformance

import (
	_ "embed" // for the page's style
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
)

//go:embed page.css
var style string

// legend says what the outcomes mean.
const legend = "passed: met · failed: a must is not met · lacking: a should is not met · differs: the specification leaves it open · " +
	"skipped: does not fit the target or this machine · broken: the suite could not carry it out"

// WriteHTML writes the report as one page that needs no other file.
func (r *Report) WriteHTML(w io.Writer, strict bool) error {
	var b markup
	b.line(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Conformance of %s</title>`, r.Target)
	b.text.WriteString("<style>\n" + style + "</style>\n")
	b.line(`</head>
<body>
<h1>Conformance of %s</h1>
<p class="about">Suite “%s”, %d checks in %.1f s, %s, %s</p>
<div class="tiles">`, r.Target, r.Suite, len(r.Findings), r.Seconds, r.Started.UTC().Format("2006-01-02 15:04 UTC"), r.Kernel)
	for _, o := range Outcomes() {
		if n := r.Count(o); n > 0 {
			b.line(`<div class="tile %s"><b>%d</b><span>%s</span></div>`, o, n, o)
		}
	}
	b.line(`</div>`)
	for _, l := range r.Levels() {
		b.level(l, strict)
	}
	b.line(`<p class="about">%s</p>
</body>
</html>`, legend)
	return b.to(w)
}

func (b *markup) level(l LevelReport, strict bool) {
	b.line(`<h2>%s</h2>`, l.Level)
	b.put(`<div class="bar">`)
	for _, o := range Outcomes() {
		if n := l.Count(o); n > 0 {
			b.put(`<i class="%s" style="flex:%d" title="%d %s"></i>`, o, n, n, o)
		}
	}
	b.line(`</div>`)
	for _, f := range l.Findings {
		b.finding(f, f.fails(strict) || f.Outcome == Broken)
	}
}

// finding writes one that can be opened, or is open.
func (b *markup) finding(f Finding, open bool) {
	attribute := ""
	if open {
		attribute = " open"
	}
	b.line(`<details class="%s" id="%s"%s>`, f.Outcome, f.ID, attribute)
	b.line(`<summary><span class="o">%s</span><span class="id">%s</span><span class="says">%s</span><span class="t">%.2f s</span></summary>`,
		f.Outcome, f.ID, f.Says, f.Seconds)
	b.line(`<div class="more">%s: %s`, f.Force, f.Source)
	for _, note := range f.Notes {
		b.line(`<pre>%s</pre>`, note)
	}
	b.line(`<div>again: <code>%s</code></div></div>
</details>`, f.Repeat)
	b.text.WriteString(plot(f.Times))
}

// Of a plot, in its own units.
const (
	plotWidth = 940
	plotLeft  = 190 // names end here
	plotRight = 660 // numbers begin here
	plotRow   = 26
	plotTop   = 34
)

// plot draws the series as dots on a logarithmic scale of time, with marks at half of
// them and at nine tenths. Without a series it is empty.
func plot(series []Series) string {
	scale, ok := scaleOf(series)
	if !ok {
		return ""
	}
	var b strings.Builder
	height := plotTop + plotRow*len(series) + 8
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img" aria-label="times in milliseconds">`, plotWidth, height)
	for ms := scale.least; ms <= scale.most*1.001; ms *= 10 {
		fmt.Fprintf(&b, `<line x1="%[1]d" x2="%[1]d" y1="%[2]d" y2="%[3]d"/><text x="%[1]d" y="16" text-anchor="middle">%[4]s</text>`,
			scale.x(ms), plotTop-10, height-4, span(ms))
	}
	for i, s := range series {
		scale.draw(&b, s, plotTop+plotRow*i+plotRow/2)
	}
	b.WriteString(`</svg>`)
	return b.String()
}

func (s scale) draw(b *strings.Builder, series Series, y int) {
	millis := slices.Sorted(slices.Values(series.Millis))
	half, most, nearly := quantile(millis, 0.5), quantile(millis, 0.9), quantile(millis, 0.99)
	fmt.Fprintf(b, `<g><title>%d times</title><text x="%d" y="%d" text-anchor="end" class="name">%s</text>`,
		len(millis), plotLeft-12, y+4, escape(series.Name))
	for i, ms := range millis {
		fmt.Fprintf(b, `<circle cx="%d" cy="%d" r="3"/>`, s.x(ms), y+(i*7)%9-4) // scattered, so that many are seen as many
	}
	fmt.Fprintf(b, `<rect x="%d" y="%d" width="3" height="18"/><rect x="%d" y="%d" width="1.5" height="18"/>`, s.x(half)-1, y-9, s.x(most), y-9)
	fmt.Fprintf(b, `<text x="%d" y="%d">p50 %s · p90 %s · p99 %s</text></g>`, plotRight+14, y+4, span(half), span(most), span(nearly))
}

// A scale is logarithmic, from one power of ten of milliseconds to another.
type scale struct{ least, most float64 }

func scaleOf(series []Series) (scale, bool) {
	least, most := math.Inf(1), 0.0
	for _, s := range series {
		for _, ms := range s.Millis {
			ms = max(ms, 0.001)
			least, most = min(least, ms), max(most, ms)
		}
	}
	if most == 0 {
		return scale{}, false
	}
	s := scale{math.Pow(10, math.Floor(math.Log10(least))), math.Pow(10, math.Ceil(math.Log10(most)))}
	if s.most <= s.least {
		s.most = s.least * 10
	}
	return s, true
}

func (s scale) x(ms float64) int {
	part := math.Log10(max(ms, s.least)/s.least) / math.Log10(s.most/s.least)
	return plotLeft + int(math.Round(part*(plotRight-plotLeft)))
}

// quantile returns the value that the part of the sorted list is not above.
func quantile(sorted []float64, part float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(math.Ceil(part*float64(len(sorted))))-1, len(sorted)-1)]
}

// span writes milliseconds with two digits that count.
func span(ms float64) string {
	d := time.Duration(ms * float64(time.Millisecond))
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < 10*time.Millisecond:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", ms), ".0") + " ms"
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", ms)
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", ms/1000), ".0") + " s"
}

// Quantiles returns the times that half, nine tenths and 99 in a hundred of the series do
// not exceed, in milliseconds; 0 of an empty one.
func (s Series) Quantiles() (p50, p90, p99 float64) {
	sorted := slices.Sorted(slices.Values(s.Millis))
	return quantile(sorted, 0.5), quantile(sorted, 0.9), quantile(sorted, 0.99)
}
