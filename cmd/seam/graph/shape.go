package graph

import (
	"fmt"
	"strings"
)

// A drawing is shapes in the order in which they are drawn, in pixels from the upper left.
type drawing struct {
	width, height int
	shapes        []shape
}

func (d *drawing) add(s ...shape) { d.shapes = append(d.shapes, s...) }

// A shape writes itself as an element of SVG.
type shape interface{ write(*strings.Builder) }

// A box is a rectangle with round corners.
type box struct {
	x, y, w, h, round int
	class, title      string
}

// A wire is a line through points, which turns with round corners.
type wire struct {
	points       []point
	class, title string
	arrow        string // id of its head; empty: none
}

type point struct{ x, y int }

// A label is a line of text; y is its base line.
type label struct {
	x, y        int
	text, class string
	anchor      string // start if empty, middle, end
	upright     bool   // it is read from below
}

// A group gives what is in it a colour, or a tooltip.
type group struct {
	class, title string
	shapes       []shape
}

func (g *group) add(s ...shape) { g.shapes = append(g.shapes, s...) }

func (g *group) write(b *strings.Builder) {
	fmt.Fprintf(b, "<g%s>\n", attribute("class", g.class))
	writeTitle(b, g.title)
	for _, s := range g.shapes {
		s.write(b)
	}
	b.WriteString("</g>\n")
}

func (r box) write(b *strings.Builder) {
	fmt.Fprintf(b, `<rect%s x="%d" y="%d" width="%d" height="%d" rx="%d"`, attribute("class", r.class), r.x, r.y, r.w, r.h, r.round)
	end(b, "rect", r.title)
}

func (w wire) write(b *strings.Builder) {
	fmt.Fprintf(b, `<path%s d="%s"`, attribute("class", w.class), through(w.points))
	if w.arrow != "" {
		fmt.Fprintf(b, ` marker-end="url(#%s)"`, w.arrow)
	}
	end(b, "path", w.title)
}

func (l label) write(b *strings.Builder) {
	fmt.Fprintf(b, `<text%s x="%d" y="%d"%s`, attribute("class", l.class), l.x, l.y, attribute("text-anchor", l.anchor))
	if l.upright {
		fmt.Fprintf(b, ` transform="rotate(-90 %d %d)"`, l.x, l.y)
	}
	fmt.Fprintf(b, ">%s</text>\n", escape(l.text))
}

func end(b *strings.Builder, element, title string) {
	if title == "" {
		b.WriteString("/>\n")
		return
	}
	b.WriteString(">")
	writeTitle(b, title)
	fmt.Fprintf(b, "</%s>\n", element)
}

func writeTitle(b *strings.Builder, title string) {
	if title != "" {
		fmt.Fprintf(b, "<title>%s</title>", escape(title))
	}
}

func attribute(name, value string) string {
	if value == "" {
		return ""
	}
	return fmt.Sprintf(` %s="%s"`, name, escape(value))
}

// through returns a path's data, each corner rounded.
func through(points []point) string {
	const radius = 8
	var b strings.Builder
	fmt.Fprintf(&b, "M%d %d", points[0].x, points[0].y)
	for i := 1; i < len(points); i++ {
		p := points[i]
		if i == len(points)-1 {
			fmt.Fprintf(&b, "L%d %d", p.x, p.y)
			break
		}
		before, after := towards(p, points[i-1], radius), towards(p, points[i+1], radius)
		fmt.Fprintf(&b, "L%d %dQ%d %d %d %d", before.x, before.y, p.x, p.y, after.x, after.y)
	}
	return b.String()
}

// towards is the point on the way from p to q, straight down or across, at a distance.
func towards(p, q point, distance int) point {
	step := func(from, to int) int { return from + max(-distance, min(distance, (to-from)/2)) }
	return point{step(p.x, q.x), step(p.y, q.y)}
}

// escape makes text safe in elements and quoted attributes. Characters that XML 1.0 has no
// place for (section 2.2) are replaced: names are the runtimes'.
func escape(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0xFFFE || r == 0xFFFF {
			return '\uFFFD'
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&#39;").Replace(text)
}
