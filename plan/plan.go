// Package plan says what an ADD would do, found by rehearsing it on a copy of the host.
//
// Nothing is calculated: the network's own chain of plugins is run, in a process with
// network and mount namespaces of its own, where the host's links, addresses, routes,
// rules, settings, firewall and state files have been copied, and so has the container's
// namespace. What each plugin changes there is what it would change on the host. What the
// copy cannot have is not guessed: a plugin that is not built in is not executed, and is a
// step that cannot be foreseen. Beside the rehearsal, what stands in the way is looked for
// on the host itself, so that it can be named.
//
// It is not a sandbox for plugins, and not for the path of an attachment. To look into a
// rehearsal while it runs: nsenter -t PID -n -m, of the process "seam plan --inside".
package plan

import (
	"encoding/json"
	"time"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
)

// A Question is which ADD is to be foreseen.
type Question struct {
	Network   *seam.Network
	Container seam.Container // without NetNS: one with an empty namespace
	ConfDir   string         // of other networks, for conflicts with them
	CacheDir  string         // of what is attached
	Timeout   time.Duration  // of one plugin's call; 0: the runtime's default

	// Host is a path by which the process that rehearses can open the host's network
	// namespace. Ask sets it.
	Host string
}

// A Plan is what an ADD would do.
type Plan struct {
	Network   string `json:"network"`
	Container string `json:"container"`
	IfName    string `json:"ifname"`
	NetNS     string `json:"netns,omitempty"` // empty: none was named

	Plugins []*Step `json:"plugins"`

	// Runtime is what the runtime itself does, beside its plugins.
	Runtime []Change `json:"runtime,omitempty"`

	// Result is in the network's version, without MACs that are chosen at random; null if
	// there would be none, or it cannot be foreseen.
	Result json.RawMessage `json:"result,omitempty"`

	Conflicts []Conflict `json:"conflicts"`
	Notes     []string   `json:"notes,omitempty"` // in what the copy may differ from the host
}

// Works reports whether the ADD would succeed, as far as it can be foreseen.
func (p *Plan) Works() bool {
	for _, c := range p.Conflicts {
		if c.Fails {
			return false
		}
	}
	return true
}

// A Step is one plugin's call.
type Step struct {
	Plugin   string          `json:"plugin"` // its type
	Executed string          `json:"executed,omitempty"`
	Input    json.RawMessage `json:"input"` // what it would read; of a step that is not reached, without prevResult
	Result   json.RawMessage `json:"result,omitempty"`
	Error    *Refusal        `json:"error,omitempty"`
	Changes  []Change        `json:"changes,omitempty"` // without those of its delegates

	Unforeseen string `json:"unforeseen,omitempty"` // why it cannot be foreseen; empty: it was rehearsed
	Assuming   string `json:"assuming,omitempty"`   // what must hold for this to be right

	Delegates []*Step `json:"delegates,omitempty"`
}

// A Refusal is a plugin's error.
type Refusal struct {
	Code    cni.Code `json:"code"`
	Msg     string   `json:"msg"`
	Details string   `json:"details,omitempty"`
}

// A Change is one thing that is made, changed or removed.
type Change struct {
	Where   string `json:"where"`           // host or container
	What    string `json:"what"`            // link, address, route, rule, neighbour, sysctl, queueing, vlan, firewall, file
	Verb    string `json:"verb"`            // add, change, remove
	Subject string `json:"subject"`         // in the words of ip(8), or a path
	Value   string `json:"value,omitempty"` // as it would be
	Was     string `json:"was,omitempty"`   // as it is, where it changes
	Link    *Link  `json:"link,omitempty"`  // of a link: its value in parts
}

// A Link is what would become of a link.
type Link struct {
	Kind   string `json:"kind"`
	MTU    int    `json:"mtu"`
	MAC    string `json:"mac,omitempty"` // empty: it has none, or it is chosen at random
	Random bool   `json:"randomMAC,omitempty"`
	Up     bool   `json:"up"`
	Master string `json:"master,omitempty"`
	Peer   string `json:"peer,omitempty"`   // of a veth: the other end
	Parent string `json:"parent,omitempty"` // of a macvlan, ipvlan or vlan: what it stands on
	Alias  string `json:"alias,omitempty"`
}

// A Conflict is what stands in the way of the ADD, or would be in another's.
type Conflict struct {
	// Kind is attached, interface, port, bridge, master, mtu, range, route, address or
	// plugin; or refused, of what the rehearsal ended with.
	Kind    string   `json:"kind"`
	Subject string   `json:"subject"`        // what cannot be had
	With    string   `json:"with,omitempty"` // who has it: a tag, a network, a link, a program
	Says    string   `json:"says"`
	Hint    string   `json:"hint,omitempty"` // what to do about it
	Fails   bool     `json:"fails"`          // the ADD would fail; else it is a warning
	Code    cni.Code `json:"code,omitempty"` // of what a plugin or the runtime refused
}
