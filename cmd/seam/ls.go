package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/docker/ahead"
)

func (c *cli) lsCommand() *cobra.Command {
	var whole bool
	var live watchWish
	cmd := &cobra.Command{
		Use:     "ls [NETWORK]",
		Aliases: []string{"list"},
		Short:   "List networks and attachments",
		Long: `List the networks of --conf-dir and the attachments in the caches of --cache-dir:
those of all runtimes that share the cache (containerd, CRI-O, nerdctl, Podman,
Docker, cnitool), with the names of pods and of Docker's containers. An attachment
whose namespace is gone is marked "stale"; seam gc frees it.

With --watch it goes on, and shows what passes each attachment, as its container sees
it: bytes (B) and packets (p), in all and a second, and packets dropped. What comes and
goes shows at once, counters at each interval. On a terminal it redraws in place; else
it prints frame after frame, with --json one object a line. A veth or other link that
is gone is marked "missing".`,
		Example: `  seam ls
  seam ls --watch --sort traffic
  seam ls blue --json
  seam ls --cache-dir /var/lib/cni --cache-dir /run/other/cni`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: c.completeNetwork,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := live.validate(cmd); err != nil {
				return err
			}
			if live.on {
				live.whole = whole
				return c.watch(cmd.Context(), args, live)
			}
			return c.ls(args, whole)
		},
	}
	cmd.Flags().BoolVar(&whole, "no-trunc", false, "print container IDs whole")
	live.flags(cmd)
	return cmd
}

// A listing is what ls prints.
type listing struct {
	Networks    []networkLine `json:"networks"`
	Attachments []attachment  `json:"attachments"`
}

// A networkLine is a network in a listing.
type networkLine struct {
	Name       string   `json:"name"`
	Version    string   `json:"cniVersion"`
	Plugins    []string `json:"plugins"`
	Containers int      `json:"containers"`
	File       string   `json:"file"` // empty: there are only attachments of it
}

// An attachment is a record as people and programs read it.
type attachment struct {
	cni.Attachment
	Name      string     `json:"name,omitempty"` // what people call the container
	NetNS     string     `json:"netns,omitempty"`
	Addresses []string   `json:"addresses"`
	Ports     []string   `json:"ports,omitempty"`
	Created   *time.Time `json:"created,omitempty"`  // absent: not known
	Reserved  bool       `json:"reserved,omitempty"` // only addresses, for a container of Docker's
	Stale     bool       `json:"stale"`
	File      string     `json:"file"`
}

func (c *cli) ls(args []string, whole bool) error {
	l, _, readErr := c.list(args)
	if err := c.printListing(l, whole); err != nil {
		return err
	}
	if readErr != nil {
		return readErr // what could not be read is not known to be none
	}
	if err := c.known(args, l); err != nil {
		return err
	}
	c.sayNone(l)
	return nil
}

// known returns the error that one of the networks that are named is not there.
func (c *cli) known(names []string, l *listing) error {
	for _, name := range names {
		if !slices.ContainsFunc(l.Networks, func(n networkLine) bool { return n.Name == name }) {
			return &failure{cni.Errorf(cni.CodeInvalidConfig, "network %q: neither configured in %s nor attached to", name, c.flags.confDir), exitNotFound, ""}
		}
	}
	return nil
}

// list reads networks and attachments, of those networks only that are named, if any are.
// With an error it returns what it could read.
func (c *cli) list(names []string) (*listing, []seam.Record, error) {
	networks, netErr := seam.LoadAll(c.flags.confDir)
	records, recErr := c.records()
	only := func(name string) bool { return len(names) == 0 || slices.Contains(names, name) }
	var l listing
	for i := range records {
		if only(records[i].Network) {
			l.Attachments = append(l.Attachments, c.describe(&records[i]))
		}
	}
	slices.SortFunc(l.Attachments, func(a, b attachment) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.ContainerID, b.ContainerID), cmp.Compare(a.IfName, b.IfName))
	})
	l.Networks = networkLines(networks, l.Attachments, only)
	return &l, records, errors.Join(netErr, recErr)
}

// records returns the attachments of all cache folders.
func (c *cli) records() ([]seam.Record, error) {
	var all []seam.Record
	var errs []error
	for _, dir := range c.flags.cacheDirs {
		records, err := seam.ReadAttachments(dir)
		all, errs = append(all, records...), append(errs, err)
	}
	return all, errors.Join(errs...)
}

func (c *cli) describe(r *seam.Record) attachment {
	a := attachment{Attachment: r.Attachment, Name: r.Name, NetNS: r.NetNS, Addresses: []string{}, Stale: !r.Alive(), File: r.File}
	a.Reserved = r.IfName == ahead.IfName
	if r.Result != nil {
		for _, ip := range r.Result.PodIPs(r.IfName) {
			a.Addresses = append(a.Addresses, ip.Address.String())
		}
	}
	for _, m := range portsOf(r) {
		a.Ports = append(a.Ports, portText(m))
	}
	if !r.Created.IsZero() {
		a.Created = &r.Created
	}
	return a
}

// portsOf returns the ports that are published for an attachment. Runtimes give a
// pod's to all of its networks, loopback included; a network without a plugin that
// takes them publishes none.
func portsOf(r *seam.Record) []cni.PortMapping {
	if len(r.Capabilities[cni.CapabilityPorts]) == 0 {
		return nil // without a look at the configuration, which takes longer than all else
	}
	if n, err := r.Recorded(); err == nil && !slices.Contains(n.Capabilities(), cni.CapabilityPorts) {
		return nil
	}
	var ports []cni.PortMapping
	if err := json.Unmarshal(r.Capabilities[cni.CapabilityPorts], &ports); err != nil {
		return nil // none, or what another runtime wrote and its plugins refused
	}
	return ports
}

func networkLines(networks []*seam.Network, attachments []attachment, only func(string) bool) []networkLine {
	lines := []networkLine{}
	find := func(name string) int {
		return slices.IndexFunc(lines, func(l networkLine) bool { return l.Name == name })
	}
	for _, n := range networks {
		if !only(n.Name) {
			continue
		}
		line := networkLine{Name: n.Name, Version: n.Version, File: n.File}
		for _, p := range n.Plugins {
			line.Plugins = append(line.Plugins, pluginText(p))
		}
		lines = append(lines, line)
	}
	for _, a := range attachments {
		if find(a.Network) < 0 {
			lines = append(lines, networkLine{Name: a.Network})
		}
		if !a.Reserved {
			lines[find(a.Network)].Containers++
		}
	}
	return lines
}

func pluginText(p seam.PluginConfig) string {
	if p.IPAM == "" {
		return p.Type
	}
	return p.Type + "(" + p.IPAM + ")"
}

func (c *cli) printListing(l *listing, whole bool) error {
	if c.flags.json {
		l.Attachments = append([]attachment{}, l.Attachments...)
		return c.printJSON(l)
	}
	if len(l.Networks) == 0 {
		return nil
	}
	t := newTable("NETWORK", "VERSION", "PLUGINS", "CONTAINERS", "FILE")
	for _, n := range l.Networks {
		t.row(n.Name, n.Version, strings.Join(n.Plugins, " → "), strconv.Itoa(n.Containers), n.File)
	}
	t.print(c.out)
	if len(l.Attachments) == 0 {
		return nil
	}
	fmt.Fprintln(c.out)
	t = newTable("CONTAINER", "NAME", "INTERFACE", "NETWORK", "ADDRESS", "PORTS", "AGE", "STATE")
	for _, a := range withoutUsed(l.Attachments) {
		t.row(shortID(a.ContainerID, whole), a.Name, a.IfName, a.Network, strings.Join(a.Addresses, ","), strings.Join(a.Ports, ","), ageOf(a), stateOf(a))
	}
	t.print(c.out)
	return nil
}

// withoutUsed leaves out reservations of addresses that a container has by now.
func withoutUsed(all []attachment) []attachment {
	used := func(a attachment) bool {
		return slices.ContainsFunc(all, func(b attachment) bool {
			return !b.Reserved && b.Network == a.Network && slices.ContainsFunc(b.Addresses, func(s string) bool { return slices.Contains(a.Addresses, s) })
		})
	}
	return slices.DeleteFunc(slices.Clone(all), func(a attachment) bool { return a.Reserved && used(a) })
}

// sayNone says what the listing lacks, and what to do, to people.
func (c *cli) sayNone(l *listing) {
	switch {
	case c.flags.json:
	case len(l.Networks) == 0:
		fmt.Fprintf(c.err, "no network in %s, and nothing attached in %s\n  next: write a network's file there, seam validate it, seam add NETWORK NETNS; or see seam demo\n",
			c.flags.confDir, strings.Join(c.flags.cacheDirs, ", "))
	case len(l.Attachments) == 0:
		fmt.Fprintln(c.err, "\nnothing is attached\n  next: seam add NETWORK NETNS")
	}
}

// shortID cuts the IDs that runtimes make, which are long and differ soon.
func shortID(id string, whole bool) string {
	const longest = 20
	if whole || len(id) <= longest {
		return id
	}
	return id[:longest-1] + "…"
}

func ageOf(a attachment) string {
	if a.Created == nil {
		return ""
	}
	return age(time.Since(*a.Created))
}

// attached is the state of an attachment of which nothing else is to be said.
const attached = "attached"

func stateOf(a attachment) string {
	switch {
	case a.Stale:
		return "stale"
	case a.Reserved:
		return "reserved"
	}
	return attached
}
