package plugins

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/conformance"
)

// A Role is what a plugin is for, which decides what can be asked of it.
type Role string

const (
	Interface Role = "interface" // makes the pod's interface
	Chained   Role = "chained"   // changes an attachment that is there
	IPAM      Role = "ipam"      // hands out addresses to the plugin that calls it
)

// A Target is a network, and which of its plugins are on trial.
type Target struct {
	Config json.RawMessage // a conflist
	Trial  []string        // types of plugins; empty: all of the chain

	Programs map[string]string // by type, the file that is executed for it
	Dirs     []string          // CNI_PATH, where other types are looked for
	Builtin  bool              // what is in neither is run in process

	// Helper is a program that is Seam, for plugins that executed ones delegate to and that
	// are not in Dirs; empty: there are none.
	Helper string
}

// A member is one plugin of the chain.
type member struct {
	Type    string
	Role    Role
	Trial   bool
	Conf    *wire.Object // as the administrator wrote it
	Before  int          // how many plugins of the chain come before it
	program program
}

// A network is the target's chain, taken apart.
type network struct {
	Name, Version string
	Members       []member
	Subjects      []member // those on trial; an IPAM plugin is one, though not of the chain
}

// parse takes the target's network apart, without looking for programs.
func (target *Target) parse() (*network, error) {
	var list struct {
		CNIVersion, Name string
		Plugins          []json.RawMessage
	}
	if err := json.Unmarshal(target.Config, &list); err != nil {
		return nil, fmt.Errorf("network: %w", err)
	}
	if len(list.Plugins) == 0 {
		return nil, fmt.Errorf("network %q: no plugins", list.Name)
	}
	n := &network{Name: list.Name, Version: list.CNIVersion}
	for i, raw := range list.Plugins {
		conf, err := wire.ParseObject(raw)
		if err != nil {
			return nil, fmt.Errorf("network %q: plugin %d: %w", list.Name, i, err)
		}
		pluginType, err := conf.String("type")
		if err != nil || pluginType == "" {
			return nil, fmt.Errorf("network %q: plugin %d: no type", list.Name, i)
		}
		m := member{Type: pluginType, Role: Chained, Conf: conf, Before: i}
		if i == 0 {
			m.Role = Interface
		}
		m.Trial = len(target.Trial) == 0 || slices.Contains(target.Trial, pluginType)
		n.Members = append(n.Members, m)
		if m.Trial {
			n.Subjects = append(n.Subjects, m)
		}
		if ipam := ipamOf(conf); slices.Contains(target.Trial, ipam) {
			n.Subjects = append(n.Subjects, member{Type: ipam, Role: IPAM, Trial: true, Conf: conf, Before: i})
		}
	}
	if len(n.Subjects) == 0 {
		return nil, fmt.Errorf("network %q: has no plugin of the types %v", list.Name, target.Trial)
	}
	return n, cni.CheckNetworkName(n.Name)
}

// ipamOf returns the type of the plugin that this one delegates addresses to, or "".
func ipamOf(conf *wire.Object) string {
	var ipam struct{ Type string }
	_ = json.Unmarshal(conf.Get("ipam"), &ipam) // none
	return ipam.Type
}

// declares reports whether some plugin of the chain has that capability.
func (n *network) declares(capability string) bool {
	return slices.ContainsFunc(n.Members, func(m member) bool { return m.declares(capability) })
}

func (m *member) declares(capability string) bool {
	var declared map[string]bool
	_ = json.Unmarshal(m.Conf.Get("capabilities"), &declared)
	return declared[capability]
}

// delegates reports whether the plugin has its addresses from another.
func (m *member) delegates() bool { return m.Role != IPAM && ipamOf(m.Conf) != "" }

// A check is one of this suite, for plugins of some roles.
type check struct {
	conformance.Check
	roles []Role // nil: any
	run   func(h *host)
}

// Suite returns the checks for the target. Builtins returns what runs in process, called
// once by each check; nil: nothing does.
func Suite(target Target, title string, builtins func() cni.Registry) (conformance.Suite, error) {
	n, err := target.parse()
	if err != nil {
		return conformance.Suite{}, err
	}
	s := conformance.Suite{Name: SuiteName, Target: target, Title: title}
	for _, c := range checks() {
		if c.roles != nil && !slices.ContainsFunc(n.Subjects, func(m member) bool { return slices.Contains(c.roles, m.Role) }) {
			continue
		}
		c.Check.Run = func(t *conformance.T) { c.carryOut(t, target, builtins) }
		s.Checks = append(s.Checks, c.Check)
	}
	return s, nil
}

// SuiteName is the suite's in conformance.Suites.
const SuiteName = "plugins"

// Reopen returns the function that makes the suite again, for conformance.Suites.
func Reopen(builtins func() cni.Registry) func(json.RawMessage) (conformance.Suite, error) {
	return func(raw json.RawMessage) (conformance.Suite, error) {
		var target Target
		if err := json.Unmarshal(raw, &target); err != nil {
			return conformance.Suite{}, err
		}
		return Suite(target, "", builtins)
	}
}

// checks returns all of them, in the order of the report.
func checks() []check {
	return slices.Concat(protocolChecks(), kernelChecks(), networkChecks(), leakChecks(), speedChecks())
}

// All returns the list of checks for people: without what they do.
func All() []conformance.Check {
	var all []conformance.Check
	for _, c := range checks() {
		all = append(all, c.Check)
	}
	return all
}
