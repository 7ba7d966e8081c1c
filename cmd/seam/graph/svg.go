package graph

import (
	"fmt"
	"strings"
)

// SVG draws a topology. The text stands alone: no fonts, scripts or other files.
func (t Topology) SVG() string {
	d := layout(t)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img">`+"\n", d.width, d.height, d.width, d.height)
	writeTitle(&b, "Container networks"+of(t.Host))
	fmt.Fprintf(&b, "\n<style>\n%s</style>\n<defs>\n", stylesheet())
	for _, id := range []string{portHead, lostHead} {
		fmt.Fprintf(&b, `<marker id="%s" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto" markerUnits="userSpaceOnUse"><path d="M0 0L8 4L0 8z"/></marker>`+"\n", id)
	}
	b.WriteString("</defs>\n")
	for _, s := range d.shapes {
		s.write(&b)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// Heads of arrows.
const (
	portHead = "head"
	lostHead = "lostHead"
)

func of(host string) string {
	if host == "" {
		return ""
	}
	return " of " + host
}
