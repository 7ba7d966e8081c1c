package graph

import (
	"fmt"
	"strings"
)

// hues are the networks' colours, on light paper and on dark.
func hues() [][2]string {
	return [][2]string{
		{"#2563eb", "#79a8ff"}, {"#0d9488", "#4fd1c0"}, {"#9333ea", "#c49bff"}, {"#b45309", "#f2b04e"},
		{"#be185d", "#ff8fc0"}, {"#4d7c0f", "#a3d655"}, {"#0e7490", "#62cfea"}, {"#6d5d4b", "#cbb89f"},
	}
}

// hue is the class of a network's colour, by its place.
func hue(place int) string { return fmt.Sprintf("n%d", place%len(hues())) }

// A tint is a class's colour on light paper and on dark, given as properties.
type tint struct{ class, light, dark string }

func tints() []tint {
	list := []tint{
		{"paper", "fill:#f7f8fa", "fill:#0d1117"},
		{"host", "fill:#ffffff;stroke:#b8c2cc", "fill:#141a22;stroke:#46505c"},
		{"bar", "fill:#e9edf2;stroke:#b8c2cc", "fill:#232b35;stroke:#46505c"},
		{"card", "fill:#ffffff", "fill:#1b222c"},
		{"sky", "fill:#e4ebf3;stroke:#b8c2cc", "fill:#1f2a37;stroke:#46505c"},
		{"line", "stroke:#7b8794", "stroke:#8b97a4"},
		{"ink", "fill:#17202a", "fill:#e8edf2"},
		{"faint", "fill:#566270", "fill:#a3afbb"},
		{"port", "stroke:#c2410c", "stroke:#ff9d5c"},
		{"portText", "fill:#c2410c", "fill:#ff9d5c"},
		{"lost", "stroke:#d1242f", "stroke:#ff6b63"},
		{"lostText", "fill:#d1242f", "fill:#ff6b63"},
	}
	for i, h := range hues() {
		list = append(list, tint{hue(i), "color:" + h[0], "color:" + h[1]})
	}
	return list
}

// forms are what colours do not depend on: sizes, widths, dashes.
const forms = `text{font-family:ui-sans-serif,system-ui,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;font-size:12px}
.mono{font-family:ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:11px}
.big{font-size:20px;font-weight:600}
.name{font-size:13px;font-weight:600}
.small{font-size:11px}
.tiny{font-size:10px}
.net{font-size:15px;font-weight:700;fill:currentColor}
.panel{fill:currentColor;fill-opacity:.07;stroke:currentColor;stroke-opacity:.45}
.card{stroke:currentColor;stroke-opacity:.7}
.master{fill:currentColor;fill-opacity:.16;stroke:currentColor;stroke-width:1.5}
.wire{fill:none;stroke:currentColor;stroke-width:1.5}
.chip{fill:currentColor;fill-opacity:.15}
.chipText{fill:currentColor;font-size:10px;font-weight:600}
.line,.port{fill:none;stroke-width:1.5}
.lost{stroke-width:1.8;stroke-dasharray:5 4;stroke-opacity:1}
.pale{opacity:.55}
`

// stylesheet returns the rules: of light paper, and of dark where the reader prefers it.
func stylesheet() string {
	var light, dark strings.Builder
	for _, t := range tints() {
		fmt.Fprintf(&light, ".%s{%s}\n", t.class, t.light)
		fmt.Fprintf(&dark, ".%s{%s}\n", t.class, t.dark)
	}
	heads := "#head path{fill:#c2410c}#lostHead path{fill:#d1242f}\n"
	darkHeads := "#head path{fill:#ff9d5c}#lostHead path{fill:#ff6b63}\n"
	return forms + light.String() + heads + "@media (prefers-color-scheme:dark){\n" + dark.String() + darkHeads + "}\n"
}
