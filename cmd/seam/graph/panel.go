package graph

import "strings"

// Sizes in pixels of what is in a panel.
const (
	panelPad    = 16
	panelHead   = 48
	masterWidth = 172
	trunkRoom   = 40 // between a master and its cards
	busLow      = 8  // of a row's wire, below its top
	dropHeight  = 30 // from there to the cards
	rowGap      = 18
)

func (p *plan) panelWidth() int {
	return panelPad + masterWidth + trunkRoom + p.columns*(cardWidth+cardGap) - cardGap + panelPad
}

// panel draws a network, its upper edge at y, and returns its height.
func (p *plan) panel(n Network, class string, y int) (*group, int) {
	g := &group{class: class}
	at := y + panelHead
	var inside []shape
	for i := range n.Masters {
		inside = append(inside, p.block(&n.Masters[i], class, &at)...)
	}
	if n.attachments() == 0 {
		at = y + panelHead - 6
		inside = append(inside[:0], label{x: p.panelX + p.panelWidth() - panelPad, y: y + 25, text: "nothing is attached", class: "faint", anchor: "end"})
	}
	height := at - y
	chain := strings.Join(n.Plugins, " → ")
	g.add(box{p.panelX, y, p.panelWidth(), height, 12, "panel", ""})
	name := fit(n.Name, masterWidth, 9)
	g.add(label{x: p.panelX + panelPad, y: y + 25, text: name, class: "net"})
	room := p.panelWidth() - 3*panelPad - 10*len([]rune(name))
	if n.attachments() == 0 {
		room -= 120
	}
	g.add(label{x: p.panelX + panelPad + 10*len([]rune(name)) + 12, y: y + 25, text: fit(chain, room, textChar), class: "small faint"})
	g.add(inside...)
	return g, height
}

// block draws a master and its rows of cards from *y on, which it moves below them.
func (p *plan) block(m *Master, class string, y *int) []shape {
	if len(m.Attachments) == 0 {
		return nil
	}
	x, top := p.panelX+panelPad, *y
	shapes := m.box(x, top-busLow)
	bus := top + busLow
	p.joints = append(p.joints, joint{x, bus, class, m})
	per := evenly(len(m.Attachments), p.columns)
	for first := 0; first < len(m.Attachments); first += per {
		row := m.Attachments[first:min(first+per, len(m.Attachments))]
		shapes = append(shapes, m.branch(point{x + masterWidth, bus}, *y+busLow, row)...)
		cardsTop, height := *y+busLow+dropHeight, cardHeight(row)
		for i, a := range row {
			shapes = append(shapes, a.card(cardX(x, i), cardsTop, height))
		}
		*y = cardsTop + height
		shapes = append(shapes, p.arrows(row, x, y)...)
		*y += rowGap
	}
	*y = max(*y, top+m.height()+rowGap)
	return shapes
}

func cardX(blockX, column int) int {
	return blockX + masterWidth + trunkRoom + column*(cardWidth+cardGap)
}

// dropX is where the wire to a card meets it.
func dropX(cardX int) int { return cardX + 26 }

func (m *Master) height() int {
	height := 42 + 15*min(len(m.Addresses), 4)
	if m.Missing {
		height += 16
	}
	return height
}

// box draws the master itself.
func (m *Master) box(x, y int) []shape {
	class, name := "master", m.Name
	if name == "" {
		name = m.Kind
	}
	if m.Missing {
		class += " lost"
	}
	shapes := []shape{
		box{x, y, masterWidth, m.height(), 8, class, strings.Join(append([]string{m.Kind + before(" ", m.Name)}, m.Addresses...), "\n")},
		label{x: x + 12, y: y + 20, text: fit(name, masterWidth-24, nameChar), class: "name ink"},
		label{x: x + 12, y: y + 35, text: m.said(), class: "small faint"},
	}
	low := y + 50
	for i, a := range m.Addresses {
		if i == 3 && len(m.Addresses) > 4 {
			a = "…"
		}
		if i < 4 {
			shapes = append(shapes, label{x: x + 12, y: low, text: fit(a, masterWidth-20, monoChar), class: "mono ink"})
			low += 15
		}
	}
	if m.Missing {
		shapes = append(shapes, label{x: x + 12, y: low, text: "missing", class: "small lostText"})
	}
	return shapes
}

// said is the second line in a master's box.
func (m *Master) said() string {
	switch {
	case m.Name == "" && m.Routed:
		return "routed, without a bridge"
	case m.Name == "":
		return "without a link of the host's"
	case m.Uplink == m.Name:
		return "shared as " + m.Kind
	case m.Uplink != "":
		return m.Kind + " on " + m.Uplink
	case !m.Routed && !m.Missing:
		return m.Kind + ", not routed"
	}
	return m.Kind
}

// branch draws the wires from the master to a row of cards.
func (m *Master) branch(from point, bus int, row []Attachment) []shape {
	trunk := from.x + trunkRoom/2
	wired := -1
	var drops []shape
	for i, a := range row {
		if a.Reserved {
			continue
		}
		wired = i
		drops = append(drops, a.drop(dropX(cardX(from.x-masterWidth, i)), bus)...)
	}
	if wired < 0 {
		return nil
	}
	end := point{dropX(cardX(from.x-masterWidth, wired)), bus}
	points := []point{from, end}
	if bus != from.y {
		points = []point{from, {trunk, from.y}, {trunk, bus}, end}
	}
	return append([]shape{wire{points: points, class: "wire"}}, drops...)
}

// drop draws the wire from a row's to a card, with the host end's name.
func (a Attachment) drop(x, bus int) []shape {
	class, text, textClass := "wire", a.HostEnd, "tiny faint"
	if a.Cut {
		class, textClass = "wire lost", "tiny lostText"
		text = strings.TrimSpace(text + " missing")
	}
	return []shape{
		wire{points: []point{{x, bus}, {x, bus + dropHeight}}, class: class},
		label{x: x + 6, y: bus + 18, text: text, class: textClass},
	}
}

// arrows draws the published ports of a row from the left, below its cards and up into
// them; y moves below them. The first card's are uppermost, so that none cross.
func (p *plan) arrows(row []Attachment, blockX int, y *int) []shape {
	var shapes []shape
	bottom := *y
	for i, a := range row {
		for k, port := range a.Ports {
			if p.ports == 0 {
				shapes = append(shapes, label{x: margin, y: bottom - 6, text: "published ports", class: "small faint"})
			}
			p.ports++
			*y += portGap
			class, head, textClass := "port", portHead, "mono portText"
			if port.Missing {
				class, head, textClass = "port lost", lostHead, "mono lostText"
			}
			x := cardX(blockX, i) + 26 + min(k*portStep(len(a.Ports)), cardWidth-40)
			shapes = append(shapes,
				wire{points: []point{{margin, *y}, {x, *y}, {x, bottom + 1}}, class: class, arrow: head, title: port.text() + " of " + a.Container},
				label{x: margin + 4, y: *y - 4, text: port.text(), class: textClass})
		}
	}
	if *y > bottom {
		*y += 6
	}
	return shapes
}

func portStep(ports int) int { return min(24, (cardWidth-40)/max(ports, 1)) }
