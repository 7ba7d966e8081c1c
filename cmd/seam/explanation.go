package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/plugin/bandwidth"
)

// An explanation is an attachment with all that belongs to it, as it is now.
type explanation struct {
	attachment
	Version  string         `json:"cniVersion"`
	Steps    []shownStep    `json:"steps"` // empty: attached by another runtime
	Links    []shownLink    `json:"links"`
	Routes   []string       `json:"routes"`          // in the container, with those that are missing
	Rules    []string       `json:"rules,omitempty"` // of routing, in the container
	DNS      cni.DNS        `json:"dns,omitzero"`
	Firewall []shownElement `json:"firewall"`
	Notes    []string       `json:"notes,omitempty"` // what could not be looked up, and why

	steps     []seam.Step
	published []cni.PortMapping
	limits    bandwidth.Limits // that are wanted
}

// A shownStep is a step with its time in a unit that its key names.
type shownStep struct {
	Plugin   string    `json:"plugin"`
	Verb     seam.Verb `json:"verb"`
	Depth    int       `json:"depth,omitempty"`
	Start    time.Time `json:"start"`
	Seconds  float64   `json:"seconds"`
	Executed string    `json:"executed,omitempty"`
}

// missing is what is said of a thing that was made and is not there.
const missing = "missing"

// unknown is what is said of a thing that could not be looked up.
const unknown = "not known"

func (c *cli) explain(r *seam.Record) *explanation {
	e := &explanation{
		attachment: c.describe(r), Version: r.Version,
		Steps: []shownStep{}, Links: []shownLink{}, Routes: []string{}, Firewall: []shownElement{},
		steps: r.Steps, published: portsOf(r), limits: wantedLimits(r),
	}
	for _, s := range r.Steps {
		e.Steps = append(e.Steps, shownStep{s.Plugin, s.Verb, s.Depth, s.Start, s.Duration.Seconds(), s.Executed})
	}
	if r.Result != nil {
		e.DNS = r.Result.DNS
	}
	host, err := c.host.Links()
	e.note(err)
	e.look(r, host)
	e.lookFirewall(c, r, host)
	return e
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
	if e.Name != "" {
		t.add("name       %s", e.Name)
	}
	t.add("namespace  %s", orElse(e.NetNS, unknown))
	t.add("result     CNI %s, %s", e.Version, e.File)
	if len(e.steps) > 0 {
		t.add("steps").below = stepTrees(e.steps)
	}
	links := t.add("links")
	for _, l := range e.Links {
		below := links.add("%s", l.text())
		if t := l.traffic.text(); t != "" {
			below.add("%s", t)
		}
	}
	t.list("routes", e.Routes)
	t.list("rules", e.Rules)
	t.list("ports", e.portTexts())
	t.list("names", dnsText(e.DNS))
	t.list("firewall", elementTexts(e.Firewall))
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
