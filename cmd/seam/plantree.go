package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/plan"
)

// planTree draws a plan.
func planTree(p *plan.Plan) *tree {
	t := &tree{text: fmt.Sprintf("%s  %s on %s  %s", p.Container, p.IfName, p.Network, outcome(p))}
	t.add("namespace  %s", orElse(p.NetNS, "a new one"))
	steps := t.add("plugins")
	for _, s := range p.Plugins {
		steps.below = append(steps.below, stepTree(s, nil))
	}
	t.list("runtime", changeTexts(p.Runtime))
	t.list("result", resultTexts(p.Result))
	t.addConflicts(p.Conflicts)
	t.list("not as on the host", p.Notes)
	return t
}

func outcome(p *plan.Plan) string {
	switch {
	case !p.Works():
		return "would not be attached"
	case p.Result == nil:
		return "cannot be foreseen"
	}
	for _, s := range p.Plugins {
		if s.Assuming != "" {
			return "would be attached, if " + s.Assuming
		}
	}
	return "would be attached"
}

// stepTree draws a step; given is what its caller was given, nil for one of the chain.
func stepTree(s *plan.Step, given json.RawMessage) *tree {
	t := &tree{text: s.Plugin}
	if s.Executed != "" {
		t.text += "  " + s.Executed
	}
	switch {
	case s.Unforeseen == plan.NotReached:
		t.text += "  " + plan.NotReached
	case s.Unforeseen != "":
		t.text += "  ? cannot be foreseen: " + s.Unforeseen
	case s.Error != nil:
		t.text += "  ✗ refused"
	case s.Assuming != "":
		t.text += "  if " + s.Assuming
	}
	if input := inputText(s.Input); input != "" && !bytes.Equal(s.Input, given) {
		t.add("given    %s", input)
	}
	for _, d := range s.Delegates {
		t.below = append(t.below, stepTree(d, s.Input))
	}
	for _, line := range changeTexts(s.Changes) {
		t.add("%s", line)
	}
	returned := resultTexts(s.Result)
	if s.Result != nil && bytes.Equal(prevOf(s.Input), s.Result) {
		returned = []string{"the result so far"}
	}
	for i, line := range returned {
		t.add("%-7s  %s", []string{"returns", ""}[min(i, 1)], line)
	}
	if s.Error != nil {
		t.add("error    %s (code %d)", oneLine(s.Error.Msg), s.Error.Code)
	}
	return t
}

// prevOf is the result that a plugin is given, without white space, as results are encoded.
func prevOf(input json.RawMessage) json.RawMessage {
	o, err := wire.ParseObject(input)
	if err != nil {
		return nil
	}
	return o.Get("prevResult")
}

// addConflicts draws conflicts, those marked ✗ by which the ADD would fail.
func (t *tree) addConflicts(conflicts []plan.Conflict) {
	if len(conflicts) == 0 {
		return
	}
	list := t.add("conflicts")
	for _, c := range conflicts {
		mark := "!"
		if c.Fails {
			mark = "✗"
		}
		below := list.add("%s %s: %s", mark, c.Kind, oneLine(c.Says))
		if c.Hint != "" {
			below.add("%s", oneLine(c.Hint))
		}
	}
}

// inputText is the keys that are the plugin's own.
func inputText(input json.RawMessage) string {
	o, err := wire.ParseObject(input)
	if err != nil {
		return ""
	}
	prev := o.Get("prevResult") != nil
	o.Delete("cniVersion", "name", "type", "prevResult")
	text := string(o.Bytes())
	if text == "{}" {
		text = ""
	}
	if prev {
		text = strings.TrimSpace(text + " and the result so far")
	}
	return text
}

var changeMarks = map[string]string{"add": "+", "change": "~", "remove": "-"}

func changeTexts(changes []plan.Change) []string {
	var lines []string
	for _, c := range changes {
		line := fmt.Sprintf("%-9s %s %s  %s", c.Where, changeMarks[c.Verb], c.What, c.Subject)
		switch {
		case c.Verb == "remove":
		case c.What == "sysctl":
			line += " = " + c.Value
		case c.Value != "":
			line += "  " + c.Value
		}
		if c.Was != "" {
			line += "  (was " + lost(c.Was, c.Value) + ")"
		}
		lines = append(lines, line)
	}
	return lines
}

// lost is the words of was that are not in now.
func lost(was, now string) string {
	const between = "  "
	words := strings.Split(was, between)
	gone := slices.DeleteFunc(slices.Clone(words), func(w string) bool { return slices.Contains(strings.Split(now, between), w) })
	if len(gone) == 0 {
		return was
	}
	return strings.Join(gone, between)
}

// resultTexts is the interfaces with their addresses, the routes and the names of a result.
func resultTexts(result json.RawMessage) []string {
	var head struct {
		Version string `json:"cniVersion"`
	}
	if json.Unmarshal(result, &head) != nil {
		return nil
	}
	r, err := wire.DecodeResult(result, head.Version)
	if err != nil {
		return nil
	}
	var lines []string
	for i, l := range r.Interfaces {
		words := []string{"interface " + l.Name}
		if l.Sandbox != "" {
			words = append(words, "in the container")
		}
		for _, ip := range r.IPs {
			if ip.Interface != nil && *ip.Interface == i {
				words = append(words, addressText(ip))
			}
		}
		lines = append(lines, strings.Join(words, "  "))
	}
	for _, ip := range r.IPs {
		if ip.Interface == nil {
			lines = append(lines, addressText(ip))
		}
	}
	for _, route := range r.Routes {
		line := "route " + route.Dst.String()
		if route.GW.IsValid() {
			line += " via " + route.GW.String()
		}
		lines = append(lines, line)
	}
	return slices.Concat(lines, dnsText(r.DNS))
}

func addressText(ip cni.IP) string {
	if ip.Gateway.IsValid() {
		return ip.Address.String() + " gateway " + ip.Gateway.String()
	}
	return ip.Address.String()
}
