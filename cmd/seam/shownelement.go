package main

import (
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/nft"
)

// A shownElement is an element of Seam's firewall tables, and what is wrong with it.
type shownElement struct {
	Plugins []string `json:"plugins"` // that want it
	Element string   `json:"element"`
	Fault   string   `json:"fault,omitempty"` // empty: it is there

	element nft.Element
}

// lookFirewall lists what the attachment's plugins have of the firewall, and the walls of
// its links, which are of no single attachment.
func (e *explanation) lookFirewall(c *cli, r *seam.Record, host *link.Handle) {
	table, err := c.host.Table()
	if err != nil {
		e.note(err)
		return
	}
	tags := []cni.Tag{r.Tag()}
	for _, l := range e.Links {
		for _, name := range []string{l.Name, l.Port} {
			if tag := nft.WallOwner(name, "").Tag; l.Host && name != "" && !slices.Contains(tags, tag) {
				tags = append(tags, tag)
			}
		}
	}
	for _, tag := range tags {
		owned, err := table.Owned(tag)
		e.note(err)
		for _, o := range owned {
			faults, err := table.Faults(o)
			e.note(err)
			for i, element := range o.Elements {
				fault := "not known"
				if err == nil {
					fault = orElse(faults[i], lostLink(element, host))
				}
				e.addElement(o.Plugin, shownElement{[]string{o.Plugin}, element.String(), fault, element})
			}
		}
	}
	e.noteOtherFirewalls(r)
}

// addElement lists an element once, whichever plugins want it.
func (e *explanation) addElement(plugin string, s shownElement) {
	for i, other := range e.Firewall {
		if other.Element == s.Element && other.Fault == s.Fault {
			e.Firewall[i].Plugins = append(other.Plugins, plugin)
			return
		}
	}
	e.Firewall = append(e.Firewall, s)
}

// lostLink says that the link which an element is about is not there any more.
func lostLink(element nft.Element, host *link.Handle) string {
	var name string
	switch el := element.(type) {
	case nft.Guard:
		name = el.Link
	case nft.Isolation:
		name = el.Link
	case nft.Wall:
		name = el.Link
	default:
		return ""
	}
	if host == nil {
		return ""
	}
	if _, err := host.ByName(name); errors.Is(err, fs.ErrNotExist) {
		return "its link is " + missing
	}
	return ""
}

// noteOtherFirewalls says where rules may be that are in no table of Seam's.
func (e *explanation) noteOtherFirewalls(r *seam.Record) {
	n, err := r.Recorded()
	if err != nil {
		return
	}
	firewall := slices.ContainsFunc(n.Plugins, func(p seam.PluginConfig) bool { return p.Type == "firewall" })
	if firewall && !slices.ContainsFunc(e.Firewall, func(s shownElement) bool { return slices.Contains(s.Plugins, "firewall") }) {
		e.Notes = append(e.Notes, "what plugin firewall keeps in iptables or firewalld; seam check asks for it")
	}
}

func elementTexts(elements []shownElement) []string {
	var lines []string
	for _, s := range elements {
		line := strings.Join(s.Plugins, ", ") + ": " + s.Element
		if s.Fault != "" {
			line += "  ✗ " + s.Fault
		}
		lines = append(lines, line)
	}
	return lines
}

// portTexts are the published ports, marked where the firewall forwards none of what
// comes to them.
func (e *explanation) portTexts() []string {
	lines := slices.Clone(e.Ports)
	for i, m := range e.published {
		known, forwarded := false, false
		for _, s := range e.Firewall {
			f, ok := s.element.(nft.Forward)
			if ok && int(f.HostPort) == m.HostPort && string(f.Protocol) == strings.ToLower(orElse(m.Protocol, "tcp")) {
				known, forwarded = true, forwarded || s.Fault == ""
			}
		}
		if known && !forwarded {
			lines[i] += "  " + missing
		}
	}
	return lines
}
