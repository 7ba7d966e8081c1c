package demo

import (
	"strings"
	"unicode/utf8"
)

// A block is lines of text of one width.
type block []string

func width(s string) int { return utf8.RuneCountInString(s) }

// lines makes a block of lines, padded to the widest.
func lines(text ...string) block {
	widest := 0
	for _, l := range text {
		widest = max(widest, width(l))
	}
	b := make(block, len(text))
	for i, l := range text {
		b[i] = l + strings.Repeat(" ", widest-width(l))
	}
	return b
}

// boxed draws a frame around a block, with a title in its upper edge.
func (b block) boxed(title string) block {
	inner := width(title) + 2
	if len(b) > 0 {
		inner = max(inner, width(b[0])+2)
	}
	head := "─"
	if title != "" {
		head = "─ " + title + " "
	}
	framed := block{"┌" + head + strings.Repeat("─", max(inner-width(head), 0)) + "┐"}
	inner = width(framed[0]) - 2
	for _, l := range b {
		framed = append(framed, "│ "+l+strings.Repeat(" ", inner-1-width(l))+"│")
	}
	return append(framed, "└"+strings.Repeat("─", inner)+"┘")
}

// beside puts blocks next to each other.
func beside(blocks ...block) block {
	height := 0
	for _, b := range blocks {
		height = max(height, len(b))
	}
	rows := make([]string, height)
	for i := range rows {
		for j, b := range blocks {
			cell := ""
			if i < len(b) {
				cell = b[i]
			}
			if j > 0 {
				rows[i] += " "
			}
			rows[i] += cell + strings.Repeat(" ", width(b[0])-width(cell))
		}
	}
	return lines(rows...)
}

// above puts blocks below each other.
func above(blocks ...block) block {
	var all []string
	for _, b := range blocks {
		all = append(all, b...)
	}
	return lines(all...)
}

// A scene is what is to be drawn.
type scene struct {
	networks  []drawnNetwork
	uplink    string // the host's interface to the neighbour
	neighbour string
}

type drawnNetwork struct {
	bridge string
	pods   []drawnPod
}

type drawnPod struct {
	name, veth string
	text       []string
}

// draw draws the scene.
func draw(s scene) string {
	var parts []block
	for _, n := range s.networks {
		parts = append(parts, n.block())
	}
	parts = append(parts, block{""}, lines(s.uplink))
	host := above(parts...).boxed("this host")
	wire := "   │"
	bottom := []rune(host[len(host)-1])
	bottom[3] = '┬'
	host[len(host)-1] = string(bottom)
	neighbour := block{}.boxed(s.neighbour)
	picture := above(host, lines(wire), neighbour)
	trimmed := make([]string, len(picture))
	for i, l := range picture {
		trimmed[i] = strings.TrimRight(l, " ")
	}
	return strings.Join(trimmed, "\n") + "\n"
}

// block draws the bridge, and hangs the containers from it.
func (n drawnNetwork) block() block {
	var pods []block
	for _, p := range n.pods {
		pods = append(pods, p.block())
	}
	row := beside(pods...)
	bridge := block{}.boxed(n.bridge)
	if missing := width(row[0]) - width(bridge[0]); missing > 0 {
		for i, edge := range []string{"┐", "┘"} {
			bridge[i] = strings.TrimSuffix(bridge[i], edge) + strings.Repeat("─", missing) + edge
		}
	}
	bottom := []rune(bridge[1])
	at := 2
	for _, p := range pods {
		bottom[at] = '┬'
		at += width(p[0]) + 1
	}
	bridge[1] = string(bottom)
	return above(bridge, row)
}

func (p drawnPod) block() block {
	body := lines(p.text...).boxed(p.name)
	return above(lines("  │ "+p.veth), body)
}
