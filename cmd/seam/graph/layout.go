package graph

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// Sizes in pixels.
const (
	margin     = 28
	skyHeight  = 40
	frameTop   = 142 // of the host
	panelsTop  = frameTop + 84
	barWidth   = 34
	chipWidth  = 200
	chipHeight = 44
	laneGap    = 8 // between what leads from uplinks to masters
	panelGap   = 18
	portGap    = 18 // between arrows
	widestRow  = 8  // cards
	legendLow  = 44
)

// A plan is a topology with the places that all of its parts must know.
type plan struct {
	t       Topology
	frameX  int // left edge of the host
	barX    int
	panelX  int
	columns int // cards in the widest row

	joints []joint
	ports  int // published, so far: the first has a heading
}

// A joint is where a master meets what leads to it from the left.
type joint struct {
	x, y  int
	class string
	of    *Master
}

// layout gives everything its place: what is outside above and on the left, the host as a
// frame, in it the bar that routes, and beside that a panel for each network.
func layout(t Topology) *drawing {
	p := &plan{t: t, frameX: margin + portsWidth(t), columns: 1}
	p.barX = p.frameX + 26
	p.panelX = p.barX + barWidth + 24 + laneGap*len(t.Uplinks)
	for _, n := range t.Networks {
		for _, m := range n.Masters {
			p.columns = max(p.columns, columns(len(m.Attachments)))
		}
	}
	var panels []shape
	y := panelsTop
	for i, n := range t.Networks {
		g, height := p.panel(n, hue(i), y)
		panels = append(panels, g)
		y += height + panelGap
	}
	bottom := max(y, panelsTop+120)
	d := &drawing{width: max(p.panelX+p.panelWidth(), p.frameX+20+len(t.Uplinks)*(chipWidth+16)) + 20 + margin, height: bottom + legendLow}
	d.add(box{w: d.width, h: d.height, class: "paper"})
	d.add(p.host(d.width-margin, bottom)...)
	d.add(p.outside()...)
	d.add(p.wires()...)
	d.add(panels...)
	d.add(legend(t, p.frameX, bottom+26)...)
	return d
}

// columns returns how many cards a row has: all of a few, else so many that the picture is
// about as wide as high.
func columns(cards int) int {
	if cards <= 4 {
		return max(cards, 1)
	}
	return evenly(cards, min(widestRow, int(math.Ceil(math.Sqrt(1.4*float64(cards))))))
}

// evenly returns how many cards to put in a row of at most so many, that the last is not
// much shorter than the others.
func evenly(cards, most int) int {
	rows := (cards + most - 1) / most
	return (cards + rows - 1) / rows
}

// portsWidth is the room that the longest port's text needs, 0 if there are none.
func portsWidth(t Topology) int {
	widest := 0
	for _, n := range t.Networks {
		for _, m := range n.Masters {
			for _, a := range m.Attachments {
				for _, port := range a.Ports {
					widest = max(widest, monoWidth(port.text())+34)
				}
			}
		}
	}
	return widest
}

func (p Port) text() string {
	text := p.Host + " → " + p.Container
	if p.Missing {
		text += " missing"
	}
	return text
}

// host draws the frame, what is said of all, and the bar.
func (p *plan) host(right, bottom int) []shape {
	attachments, faulty := 0, 0
	for _, n := range p.t.Networks {
		attachments += n.attachments()
		for _, m := range n.Masters {
			if m.Missing {
				faulty++
			}
			for _, a := range m.Attachments {
				if a.faulty() {
					faulty++
				}
			}
		}
	}
	said := fmt.Sprintf("%s, %s", count(len(p.t.Networks), "network"), count(attachments, "attachment"))
	shapes := []shape{
		box{p.frameX, frameTop, right - p.frameX, bottom - frameTop, 14, "host", "the host" + before(" ", p.t.Host)},
		label{x: right - 20, y: frameTop + 36, text: fit(strings.TrimSpace(orHost(p.t.Host)), 230, 11), class: "big ink", anchor: "end"},
		label{x: right - 20, y: frameTop + 56, text: said, class: "faint", anchor: "end"},
		box{p.barX, panelsTop - 14, barWidth, bottom - panelsTop - 4, 8, "bar", "the host's routing and firewall"},
		label{x: p.barX + barWidth/2 + 4, y: (panelsTop + bottom) / 2, text: "routing, firewall", class: "small faint", anchor: "middle", upright: true},
	}
	if faulty > 0 {
		shapes = append(shapes, label{x: right - 20, y: frameTop + 74, text: fmt.Sprintf("%d with something missing", faulty), class: "lostText", anchor: "end"})
	}
	return shapes
}

func orHost(name string) string {
	if name == "" {
		return "this host"
	}
	return name
}

// outside draws the world, and the uplinks that lead there.
func (p *plan) outside() []shape {
	if len(p.t.Uplinks) == 0 {
		return []shape{label{x: p.frameX + 20, y: frameTop + 36, text: "no uplink", class: "faint"}}
	}
	width := len(p.t.Uplinks)*(chipWidth+16) - 16
	shapes := []shape{
		box{p.frameX + 20, margin, width, skyHeight, skyHeight / 2, "sky", "other hosts, and the world"},
		label{x: p.frameX + 20 + width/2, y: margin + 25, text: "outside", class: "name ink", anchor: "middle"},
	}
	for i, u := range p.t.Uplinks {
		x := p.chipX(i)
		class, said := "line", ""
		if u.Down {
			class, said = "line lost", "down"
		}
		shapes = append(shapes,
			wire{points: []point{{x + chipWidth/2, margin + skyHeight}, {x + chipWidth/2, frameTop - chipHeight/2}}, class: class},
			box{x, frameTop - chipHeight/2, chipWidth, chipHeight, 8, "sky " + class, strings.Join(append([]string{u.Name, said}, u.Addresses...), "\n")},
			label{x: x + 12, y: frameTop - 4, text: u.Name, class: "name ink"},
			label{x: x + chipWidth - 12, y: frameTop - 4, text: said, class: "small lostText", anchor: "end"},
			label{x: x + 12, y: frameTop + 13, text: fit(strings.Join(u.Addresses, " "), chipWidth-24, monoChar), class: "mono faint"})
	}
	return shapes
}

func (p *plan) chipX(i int) int { return p.frameX + 20 + i*(chipWidth+16) }

// wires lead from uplinks to the bar, from the bar to masters that are routed, and from
// uplinks straight to those that are on them.
func (p *plan) wires() []shape {
	var shapes []shape
	low := frameTop + chipHeight/2
	for i := range p.t.Uplinks {
		from, to := p.chipX(i)+chipWidth/2-12, p.barX+barWidth/2
		shapes = append(shapes, wire{points: []point{{from, low}, {from, low + 18}, {to, low + 18}, {to, panelsTop - 14}}, class: "line"})
	}
	for _, j := range p.joints {
		if j.of.Routed {
			shapes = append(shapes, &group{class: j.class, shapes: []shape{wire{points: []point{{p.barX + barWidth, j.y}, {j.x, j.y}}, class: "wire"}}})
		}
		for i, u := range p.t.Uplinks {
			if u.Name != j.of.Uplink {
				continue
			}
			from, lane := p.chipX(i)+chipWidth/2+12, p.barX+barWidth+14+i*laneGap
			w := wire{points: []point{{from, low}, {from, low + 32}, {lane, low + 32}, {lane, j.y}, {j.x, j.y}}, class: "wire", title: "neighbours of " + u.Name}
			shapes = append(shapes, &group{class: j.class, shapes: []shape{w}})
		}
	}
	return shapes
}

// legend explains what there is of arrows and dashes.
func legend(t Topology, x, y int) []shape {
	var published, lost bool
	for _, n := range t.Networks {
		for _, m := range n.Masters {
			lost = lost || m.Missing
			for _, a := range m.Attachments {
				published, lost = published || len(a.Ports) > 0, lost || a.faulty()
			}
		}
	}
	var shapes []shape
	item := func(class, head, text, textClass string) {
		shapes = append(shapes, wire{points: []point{{x, y - 4}, {x + 34, y - 4}}, class: class, arrow: head},
			label{x: x + 42, y: y, text: text, class: "small " + textClass})
		x += 42 + 7*utf8.RuneCountInString(text) + 24
	}
	if published {
		item("port", portHead, "published port", "faint")
	}
	if lost {
		item("port lost", "", "was made, and is missing", "faint")
	}
	return shapes
}

func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func before(gap, text string) string {
	if text == "" {
		return ""
	}
	return gap + text
}

// Widths of characters: of a fixed pitch exactly, else of wide ones.
const (
	monoChar = 6.7
	nameChar = 8.2
	textChar = 6.2
)

func monoWidth(text string) int {
	return int(math.Ceil(monoChar * float64(utf8.RuneCountInString(text))))
}

// fit cuts a text that is longer than a width.
func fit(text string, width int, char float64) string {
	longest := int(float64(width) / char)
	if utf8.RuneCountInString(text) <= longest {
		return text
	}
	return string([]rune(text)[:max(longest-1, 0)]) + "…"
}
