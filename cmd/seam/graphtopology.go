package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cmd/seam/graph"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/nft"
)

// topology gathers what show explains of each attachment into one value. With an error that
// something could not be read it returns what could.
func (c *cli) topology(networks []string) (*graph.Topology, error) {
	l, records, unread := c.list(networks)
	if err := c.known(networks, l); err != nil {
		return nil, err
	}
	host, err := c.host.Links()
	if err != nil {
		return nil, err
	}
	s := survey{cli: c, host: host}
	if s.links, err = host.List(); err != nil {
		return nil, err
	}
	s.outside, _ = host.DefaultRouteLink() // without one, there is no way out
	t := &graph.Topology{Networks: []graph.Network{}}
	t.Host, _ = os.Hostname() // a host need not have a name
	shown := withoutUsed(l.Attachments)
	for _, n := range l.Networks {
		network := graph.Network{Name: n.Name, Plugins: n.Plugins}
		for i := range records {
			a := slices.IndexFunc(shown, func(a attachment) bool { return a.File == records[i].File })
			if a >= 0 && records[i].Network == n.Name && !isLoopback(&records[i]) {
				s.attach(&network, &records[i], l.Attachments)
			}
		}
		t.Networks = append(t.Networks, network)
	}
	t.Networks = slices.DeleteFunc(t.Networks, func(n graph.Network) bool {
		return len(n.Masters) == 0 && slices.Equal(n.Plugins, []string{"loopback"})
	})
	t.Uplinks = s.uplinks()
	return t, unread
}

// A survey is a look at a host's links, with what attachments hang on.
type survey struct {
	cli     *cli
	host    *link.Handle
	links   []link.Link
	outside link.Link // the default route's, zero if there is none
	shared  []string  // links that attachments stand on, as of macvlan
}

// A maker is what is to be known of the plugin that made an attachment's interface.
type maker struct {
	Type   string `json:"type"`
	Bridge string `json:"bridge"`
	Master string `json:"master"`
}

func makerOf(r *seam.Record) maker {
	var m maker
	if n, err := r.Recorded(); err == nil && len(n.Plugins) > 0 {
		_ = json.Unmarshal(n.Plugins[0].JSON, &m) // what another plugin's keys of these names hold is no name
		m.Type = n.Plugins[0].Type
	}
	return m
}

func isLoopback(r *seam.Record) bool { return makerOf(r).Type == "loopback" }

// attach puts an attachment to the master that it hangs on.
func (s *survey) attach(n *graph.Network, r *seam.Record, all []attachment) {
	e := s.cli.explain(r)
	a, end := e.drawn(all)
	m := s.master(makerOf(r), end, e)
	i := slices.IndexFunc(n.Masters, func(o graph.Master) bool { return o.Name == m.Name && o.Kind == m.Kind })
	if i < 0 {
		i = len(n.Masters)
		n.Masters = append(n.Masters, m)
	}
	n.Masters[i].Attachments = append(n.Masters[i].Attachments, a)
	slices.SortStableFunc(n.Masters[i].Attachments, func(a, b graph.Attachment) int {
		return cmp.Or(cmp.Compare(a.Container, b.Container), cmp.Compare(a.IfName, b.IfName))
	})
}

// master returns what an attachment hangs on: the bridge of its host end, or else what its
// plugin's configuration says.
func (s *survey) master(by maker, end *shownLink, e *explanation) graph.Master {
	name := by.Bridge
	switch by.Type {
	case "bridge":
		name = orElse(name, "cni0")
	case "macvlan", "ipvlan", "vlan":
		up := orElse(by.Master, s.outside.Name)
		if !slices.Contains(s.shared, up) {
			s.shared = append(s.shared, up)
		}
		return graph.Master{Name: up, Kind: by.Type, Uplink: up, Missing: s.link(up) == nil}
	default:
		name = ""
		if i := slices.IndexFunc(e.Links, func(l shownLink) bool { return l.Host && l.Kind == "bridge" }); i >= 0 {
			name = e.Links[i].Name
		}
	}
	if end != nil && end.Port != "" {
		name = end.Port
	}
	if name == "" {
		return graph.Master{Kind: orElse(by.Type, "not known"), Routed: end != nil}
	}
	l := s.link(name)
	if l == nil {
		return graph.Master{Name: name, Kind: "bridge", Missing: true}
	}
	m := graph.Master{Name: name, Kind: l.Kind, Addresses: s.addresses(*l)}
	m.Routed = len(m.Addresses) > 0
	for _, port := range s.links {
		if port.Master == l.Index && s.isUplink(port) {
			m.Uplink = port.Name
		}
	}
	return m
}

func (s *survey) link(name string) *link.Link {
	if i := slices.IndexFunc(s.links, func(l link.Link) bool { return l.Name == name }); i >= 0 {
		return &s.links[i]
	}
	return nil
}

// addresses returns a link's, without those of the link itself alone.
func (s *survey) addresses(l link.Link) []string {
	addrs, _ := s.host.Addrs(l) // of a link that is gone meanwhile there are none
	var texts []string
	for _, a := range addrs {
		if !a.Prefix.Addr().IsLinkLocalUnicast() {
			texts = append(texts, a.Prefix.String())
		}
	}
	return texts
}

// isUplink reports whether a link leads to other hosts: hardware that is up, and whatever
// the default route and containers' neighbours are on.
func (s *survey) isUplink(l link.Link) bool {
	hardware := l.Name != "lo" && l.Up && slices.Contains([]string{"device", "bond", "team"}, l.Kind)
	return hardware || l.Index == s.outside.Index || slices.Contains(s.shared, l.Name)
}

// uplinks returns a few of them, the default route's first.
func (s *survey) uplinks() []graph.Uplink {
	const most = 6
	links := slices.DeleteFunc(slices.Clone(s.links), func(l link.Link) bool { return !s.isUplink(l) })
	rank := func(l link.Link) int {
		switch {
		case l.Index == s.outside.Index:
			return 0
		case slices.Contains(s.shared, l.Name):
			return 1
		}
		return 2
	}
	slices.SortStableFunc(links, func(a, b link.Link) int { return cmp.Or(rank(a)-rank(b), cmp.Compare(a.Name, b.Name)) })
	uplinks := []graph.Uplink{}
	for _, l := range links[:min(most, len(links))] {
		uplinks = append(uplinks, graph.Uplink{Name: l.Name, Addresses: s.addresses(l), Down: !l.Up})
	}
	return uplinks
}

// drawn returns the explanation as it is drawn, and the host's link that leads to the
// container, nil if there is none.
func (e *explanation) drawn(all []attachment) (graph.Attachment, *shownLink) {
	a := graph.Attachment{
		Container: orElse(e.Name, shortID(e.ContainerID, false)), ID: e.ContainerID, IfName: e.IfName,
		Gone: e.Stale, Reserved: e.Reserved,
	}
	var end *shownLink
	var lost []string
	for i := range e.Links {
		l := &e.Links[i]
		switch {
		case !l.Host && l.Name == e.IfName:
			a.Cut = a.Cut || l.State == missing
			lost = l.Lost
		case l.Host && (l.Kind == "veth" || strings.HasPrefix(l.Name, "veth")):
			end, a.HostEnd = l, l.Name
			a.Cut = a.Cut || l.State == missing
		case l.Host && l.State == missing && strings.HasPrefix(l.Name, "bwp"):
			a.Missing = append(a.Missing, "link "+l.Name)
		}
		a.Missing = append(a.Missing, l.LostLimits...)
	}
	for _, address := range e.Addresses {
		a.Addresses = append(a.Addresses, graph.Address{Text: address, Missing: slices.Contains(lost, address)})
	}
	a.Ports, a.Marks = e.drawnPorts(), e.marks()
	a.Missing = append(a.Missing, e.lost()...)
	for _, o := range all {
		same := o.NetNS != "" && o.NetNS == e.NetNS || o.ContainerID == e.ContainerID
		if same && !o.Reserved && o.Attachment != e.Attachment {
			a.Others = append(a.Others, o.IfName+" on "+o.Network)
		}
	}
	return a, end
}

// lost lists in words what is missing of routes, rules and the firewall.
func (e *explanation) lost() []string {
	if e.Stale {
		return nil // that all inside is gone needs no list
	}
	var words []string
	for _, r := range e.Routes {
		if text, is := strings.CutSuffix(r, "  "+missing); is {
			words = append(words, "route "+text)
		}
	}
	for _, r := range e.Rules {
		if text, is := strings.CutSuffix(r, "  "+missing); is {
			words = append(words, "rule "+text)
		}
	}
	for _, s := range e.Firewall {
		if s.Fault != "" {
			words = append(words, fmt.Sprintf("%s: %s (%s)", strings.Join(s.Plugins, ", "), s.Element, s.Fault))
		}
	}
	return words
}

func (e *explanation) drawnPorts() []graph.Port {
	var ports []graph.Port
	texts := e.portTexts()
	for i, m := range e.published {
		protocol := strings.ToLower(orElse(m.Protocol, "tcp"))
		text := strings.TrimSuffix(portText(m), fmt.Sprintf(":%d/%s", m.ContainerPort, protocol))
		ports = append(ports, graph.Port{
			Host: text, Container: fmt.Sprintf("%d/%s", m.ContainerPort, protocol),
			Missing: strings.HasSuffix(texts[i], "  "+missing),
		})
	}
	return ports
}

// marks are what an attachment is not let do: reach its neighbours, or go faster.
func (e *explanation) marks() []string {
	var marks []string
	add := func(mark string) {
		if !slices.Contains(marks, mark) {
			marks = append(marks, mark)
		}
	}
	for _, s := range e.Firewall {
		if _, is := s.element.(nft.Isolation); is {
			add("isolated")
		}
	}
	for _, l := range e.Links {
		if slices.Contains(l.Flags, "isolated") {
			add("isolated")
		}
		if l.Host && l.Rate > 0 {
			direction := "in "
			if l.Kind == "ifb" {
				direction = "out "
			}
			add(direction + rateText(l.Rate))
		}
	}
	return marks
}
