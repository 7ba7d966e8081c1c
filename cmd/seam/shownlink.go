package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns"
)

// A shownLink is a link of an attachment, as it was made and as it is.
type shownLink struct {
	Name      string   `json:"name"`
	Host      bool     `json:"host"` // else it is in the container
	Kind      string   `json:"kind,omitempty"`
	MAC       string   `json:"mac,omitempty"`
	MTU       int      `json:"mtu,omitempty"`
	State     string   `json:"state"` // up, down, missing; or not known
	Port      string   `json:"portOf,omitempty"`
	Flags     []string `json:"flags,omitempty"` // promisc, allmulti; of a port: hairpin, isolated
	Addresses []string `json:"addresses,omitempty"`
	Lost      []string `json:"missingAddresses,omitempty"`
	shownLimit
	traffic
}

// look fills in links, routes and rules. What cannot be looked up is a note.
func (e *explanation) look(r *seam.Record, host *link.Handle) {
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
	var there []link.Route
	for _, i := range r.Result.Interfaces {
		l := shownLink{Name: i.Name, Host: i.Sandbox == "", MAC: i.MAC.String(), MTU: i.MTU}
		h := pod
		if l.Host {
			h = host
		}
		if now, ok := e.lookLink(&l, h); ok {
			there = append(there, e.lookInside(r, &l, now, h)...)
		}
		e.Links = append(e.Links, l)
	}
	if slices.ContainsFunc(e.Links, func(l shownLink) bool { return !l.Host }) {
		e.lookForLost(r.Result.Routes, there)
	}
	e.lookRules(r, pod)
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

func (e *explanation) lookLink(l *shownLink, h *link.Handle) (now link.Link, ok bool) {
	l.State = missing
	if h == nil {
		return now, false
	}
	now, err := h.ByName(l.Name)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			l.State = unknown
			e.note(err)
		}
		return now, false
	}
	l.Kind, l.MAC, l.MTU, l.State = now.Kind, now.MAC.String(), now.MTU, "down"
	if now.Up {
		l.State = "up"
	}
	l.Flags = flagsOf(now)
	if master, err := h.ByIndex(now.Master); now.Master != 0 && err == nil {
		l.Port = master.Name
		if master.Kind == "bridge" {
			l.Flags = append(l.Flags, e.portFlags(now, h)...)
		}
	}
	e.lookLimit(l, now, h)
	counters, err := h.Counters(now)
	e.note(err)
	l.traffic = trafficOf(counters)
	addrs, err := h.Addrs(now)
	e.note(err)
	for _, a := range addrs {
		if !a.Prefix.Addr().IsLinkLocalUnicast() {
			l.Addresses = append(l.Addresses, a.Prefix.String())
		}
	}
	return now, true
}

// portFlags are those of a bridge's port.
func (e *explanation) portFlags(l link.Link, h *link.Handle) []string {
	hairpin, isolated, err := h.Port(l)
	e.note(err)
	var flags []string
	if hairpin {
		flags = append(flags, "hairpin")
	}
	if isolated {
		flags = append(flags, "isolated")
	}
	return flags
}

func flagsOf(l link.Link) []string {
	var flags []string
	byItself := l.Master != 0 // a port receives every frame
	for _, f := range []struct {
		set  bool
		name string
	}{{l.Promisc && !byItself, "promisc"}, {l.Allmulti, "allmulti"}} {
		if f.set {
			flags = append(flags, f.name)
		}
	}
	return flags
}

// lookInside compares the addresses of a link of the container's with those that it was
// given, and returns the routes over it.
func (e *explanation) lookInside(r *seam.Record, l *shownLink, now link.Link, h *link.Handle) []link.Route {
	if l.Host {
		return nil
	}
	if l.Name == r.IfName {
		for _, ip := range r.Result.PodIPs(r.IfName) {
			if a := ip.Address.String(); !slices.Contains(l.Addresses, a) && !ip.Address.Addr().IsLinkLocalUnicast() {
				l.Lost = append(l.Lost, a)
			}
		}
	}
	routes, err := h.Routes(now)
	e.note(err)
	for _, route := range routes {
		if !route.Dst.Addr().IsMulticast() && !route.Dst.Addr().IsLinkLocalUnicast() {
			e.Routes = append(e.Routes, routeText(route, l.Name))
		}
	}
	return routes
}

// mainTable is the routing table that is meant where none is named.
const mainTable = 254

func routeText(r link.Route, dev string) string {
	text := r.String() + " dev " + dev
	if r.Table != nil && *r.Table != 0 && *r.Table != mainTable {
		text += fmt.Sprintf(" table %d", *r.Table)
	}
	return text
}

// lookForLost lists the routes of the result to whose destinations there is none. By
// which gateway, and in which table, plugins may have changed.
func (e *explanation) lookForLost(wanted []cni.Route, there []link.Route) {
	for _, w := range wanted {
		w.Dst = w.Dst.Masked()
		if !slices.ContainsFunc(there, func(r link.Route) bool { return r.Dst == w.Dst }) {
			e.Routes = append(e.Routes, link.Route{Route: w}.String()+"  "+missing)
		}
	}
}

// lookRules lists the rules that send what comes from the container's addresses to a
// routing table, and those of plugin sbr that are gone.
func (e *explanation) lookRules(r *seam.Record, pod *link.Handle) {
	var rules []link.Rule
	if pod != nil {
		var err error
		if rules, err = pod.Rules(); err != nil {
			e.note(err)
			return
		}
	}
	var own []netip.Prefix
	for _, ip := range r.Result.PodIPs(r.IfName) {
		own = append(own, netip.PrefixFrom(ip.Address.Addr(), ip.Address.Addr().BitLen()))
	}
	for _, rule := range rules {
		if slices.Contains(own, rule.Source) {
			e.Rules = append(e.Rules, rule.String())
		}
	}
	n, err := r.Recorded()
	if err != nil || !slices.ContainsFunc(n.Plugins, func(p seam.PluginConfig) bool { return p.Type == "sbr" }) {
		return
	}
	for _, source := range own {
		if !slices.ContainsFunc(rules, func(rule link.Rule) bool { return rule.Source == source }) {
			e.Rules = append(e.Rules, link.Rule{Source: source}.String()+"  "+missing)
		}
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
	words = append(words, l.Flags...)
	if l.Qdisc != "" {
		words = append(words, l.Qdisc+" rate "+rateText(l.Rate))
	}
	for _, lost := range l.LostLimits {
		words = append(words, lost+" "+missing)
	}
	words = append(words, l.Addresses...)
	for _, a := range l.Lost {
		words = append(words, a+" "+missing)
	}
	return strings.Join(words, "  ")
}

// rateText writes a rate in bits a second as tc(8) does.
func rateText(bits uint64) string {
	unit := 0
	for ; unit < 3 && bits > 0 && bits%1000 == 0; unit++ {
		bits /= 1000
	}
	return fmt.Sprintf("%d%sbit", bits, []string{"", "K", "M", "G"}[unit])
}
