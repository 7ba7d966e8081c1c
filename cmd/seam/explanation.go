package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns"
)

// An explanation is an attachment with all that belongs to it, as it is now.
type explanation struct {
	attachment
	Version  string      `json:"cniVersion"`
	Steps    []seam.Step `json:"steps"` // empty: attached by another runtime
	Links    []shownLink `json:"links"`
	Routes   []string    `json:"routes"` // in the container
	DNS      cni.DNS     `json:"dns,omitzero"`
	Firewall []string    `json:"firewall"`
	Notes    []string    `json:"notes,omitempty"` // what could not be looked up, and why
}

// A shownLink is a link of an attachment, as it was made and as it is.
type shownLink struct {
	Name      string   `json:"name"`
	Host      bool     `json:"host"` // else it is in the container
	Kind      string   `json:"kind,omitempty"`
	MAC       string   `json:"mac,omitempty"`
	MTU       int      `json:"mtu,omitempty"`
	State     string   `json:"state"` // up, down, missing; or not known
	Port      string   `json:"portOf,omitempty"`
	Addresses []string `json:"addresses,omitempty"`
}

func (c *cli) explain(r *seam.Record) *explanation {
	e := &explanation{attachment: c.describe(r), Version: r.Version, Steps: r.Steps, Links: []shownLink{}, Routes: []string{}, Firewall: []string{}}
	if r.Result != nil {
		e.DNS = r.Result.DNS
	}
	e.look(c, r)
	e.lookFirewall(c, r.Tag())
	return e
}

// look fills in links and routes. What cannot be looked up is a note.
func (e *explanation) look(c *cli, r *seam.Record) {
	host, err := c.host.Links()
	e.note(err)
	pod, err := openPod(r.NetNS)
	if !errors.Is(err, fs.ErrNotExist) {
		e.note(err) // that it is gone, the state says
	}
	if pod != nil {
		defer pod.Close()
	}
	if r.Result == nil {
		return
	}
	for _, i := range r.Result.Interfaces {
		l := shownLink{Name: i.Name, Host: i.Sandbox == "", MAC: i.MAC.String(), MTU: i.MTU}
		h := pod
		if l.Host {
			h = host
		}
		e.lookLink(&l, h)
		e.Links = append(e.Links, l)
	}
}

func openPod(path string) (*link.Handle, error) {
	if path == "" {
		return nil, fs.ErrNotExist
	}
	ns, err := netns.Open(path)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	return link.In(ns)
}

func (e *explanation) lookLink(l *shownLink, h *link.Handle) {
	if h == nil {
		l.State = "missing"
		return
	}
	now, err := h.ByName(l.Name)
	if err != nil {
		l.State = "missing"
		if !errors.Is(err, fs.ErrNotExist) {
			l.State = "not known"
			e.note(err)
		}
		return
	}
	l.Kind, l.MAC, l.MTU, l.State = now.Kind, now.MAC.String(), now.MTU, "down"
	if now.Up {
		l.State = "up"
	}
	if master, err := h.ByIndex(now.Master); now.Master != 0 && err == nil {
		l.Port = master.Name
	}
	addrs, err := h.Addrs(now)
	e.note(err)
	for _, a := range addrs {
		if !a.Prefix.Addr().IsLinkLocalUnicast() {
			l.Addresses = append(l.Addresses, a.Prefix.String())
		}
	}
	if l.Host {
		return
	}
	routes, err := h.Routes(now)
	e.note(err)
	for _, r := range routes {
		if !r.Dst.Addr().IsMulticast() && !r.Dst.Addr().IsLinkLocalUnicast() {
			e.Routes = append(e.Routes, r.String()+" dev "+l.Name)
		}
	}
}

func (e *explanation) lookFirewall(c *cli, tag cni.Tag) {
	table, err := c.host.Table()
	if err != nil {
		e.note(err)
		return
	}
	owned, err := table.Owned(tag)
	e.note(err)
	for _, o := range owned {
		for _, element := range o.Elements {
			e.Firewall = append(e.Firewall, fmt.Sprintf("%s: %s", o.Plugin, element))
		}
	}
}

func (e *explanation) note(err error) {
	if err != nil {
		e.Notes = append(e.Notes, oneLine(err.Error()))
	}
}

// tree draws the explanation.
func (e *explanation) tree() *tree {
	state := stateOf(e.attachment)
	if a := ageOf(e.attachment); a != "" {
		state += " " + a + " ago"
	}
	t := &tree{text: fmt.Sprintf("%s  %s on %s  %s", e.ContainerID, e.IfName, e.Network, state)}
	t.add("namespace  %s", orElse(e.NetNS, "not known"))
	t.add("result     CNI %s, %s", e.Version, e.File)
	if len(e.Steps) > 0 {
		t.add("steps").below = stepTrees(e.Steps)
	}
	links := t.add("links")
	for _, l := range e.Links {
		links.add("%s", l.text())
	}
	t.list("routes", e.Routes)
	t.list("ports", e.Ports)
	t.list("names", dnsText(e.DNS))
	t.list("firewall", e.Firewall)
	t.list("not looked up", e.Notes)
	return t
}

// list puts a heading and its lines below t, nothing if there are no lines.
func (t *tree) list(heading string, lines []string) {
	if len(lines) == 0 {
		return
	}
	below := t.add("%s", heading)
	for _, l := range lines {
		below.add("%s", l)
	}
}

func (l shownLink) text() string {
	where := "container"
	if l.Host {
		where = "host"
	}
	words := []string{fmt.Sprintf("%-9s  %-15s", where, l.Name), l.State}
	for _, w := range []string{l.Kind, l.MAC} {
		if w != "" {
			words = append(words, w)
		}
	}
	if l.MTU > 0 {
		words = append(words, fmt.Sprintf("mtu %d", l.MTU))
	}
	if l.Port != "" {
		words = append(words, "port of "+l.Port)
	}
	return strings.Join(append(words, l.Addresses...), "  ")
}

func dnsText(d cni.DNS) []string {
	var lines []string
	for _, server := range d.Nameservers {
		lines = append(lines, "nameserver "+server)
	}
	if d.Domain != "" {
		lines = append(lines, "domain "+d.Domain)
	}
	if len(d.Search) > 0 {
		lines = append(lines, "search "+strings.Join(d.Search, " "))
	}
	if len(d.Options) > 0 {
		lines = append(lines, "options "+strings.Join(d.Options, " "))
	}
	return lines
}
