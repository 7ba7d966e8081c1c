package trail

import (
	"fmt"
	"strings"

	"github.com/seamnet/seam/nft"
)

// wanted names who wants the elements that a rule of Seam's found for the packet.
func (w *walk) wanted(r *Rule, e nft.Event) []string {
	in, out := w.linkName(e.In), w.linkName(e.Out)
	var names []string
	for _, rec := range w.records {
		for _, el := range rec.Elements {
			if !w.isBehind(r, el, [2]string{in, out}) {
				continue
			}
			names = append(names, owner(rec))
			break
		}
	}
	return names
}

// owner says on whose behalf a record is there: an attachment's, or a link's.
func owner(r nft.Record) string {
	if name, ok := strings.CutPrefix(string(r.Tag), "link:"); ok {
		return fmt.Sprintf("%s for link %s", r.Plugin, name)
	}
	return fmt.Sprintf("%s of %s", r.Plugin, r.Tag)
}

func (w *walk) linkName(index int) string {
	if index == 0 {
		return ""
	}
	l, err := w.host.Links.ByIndex(index)
	if err != nil {
		return ""
	}
	return l.Name
}

// isBehind reports whether the element is what the rule met; ways are the names of the links
// by which the packet came and leaves.
func (w *walk) isBehind(r *Rule, e nft.Element, ways [2]string) bool {
	from, to := w.packet.From.Addr(), w.packet.To
	switch e := e.(type) {
	case nft.Wall:
		return strings.Contains(r.Text, "@walled") && (e.Link == ways[0] || e.Link == ways[1])
	case nft.Isolation:
		return strings.Contains(r.Text, "@isolated") && (e.Link == ways[0] || e.Link == ways[1])
	case nft.Guard:
		return strings.Contains(r.Text, "@guarded") && e.Link == ways[0]
	case nft.Forward:
		return strings.Contains(r.Text, "dnat") && w.forwardsTo(e)
	case nft.Masquerade:
		return e.Source == from && (strings.Contains(r.Text, "@masq") || strings.HasPrefix(r.Chain, "masq-"))
	case nft.Hairpin:
		return e.To == to.Addr() && (strings.Contains(r.Text, "@hairpin") || strings.HasPrefix(r.Chain, "hairpin-"))
	}
	return false
}

// forwardsTo reports whether a published port is the one that the packet is sent to.
func (w *walk) forwardsTo(f nft.Forward) bool {
	any := !f.HostIP.IsValid() || f.HostIP.IsUnspecified()
	return f.Protocol.Number() == w.packet.Protocol && f.HostPort == w.packet.To.Port() &&
		(any && f.To.Addr().Is4() == w.packet.To.Addr().Is4() || f.HostIP == w.packet.To.Addr())
}
