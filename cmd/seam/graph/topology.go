// Package graph draws the networks of a host as SVG: what is outside, the host, bridges,
// containers, and the ports that lead to them.
//
// It is pure: a Topology becomes shapes with places, and those become text. It does not look
// at a host; seam graph does. To debug a picture: seam graph --json prints the Topology
// that it was drawn from.
package graph

import "slices"

// A Topology is what is to be drawn.
type Topology struct {
	Host     string    `json:"host"` // its name; may be empty
	Uplinks  []Uplink  `json:"uplinks"`
	Networks []Network `json:"networks"`
}

// An Uplink is a link of the host's by which it reaches others.
type Uplink struct {
	Name      string   `json:"name"`
	Addresses []string `json:"addresses,omitempty"`
	Down      bool     `json:"down,omitempty"`
}

// A Network is a group of attachments with a colour.
type Network struct {
	Name    string   `json:"name"`
	Plugins []string `json:"plugins,omitempty"`
	Masters []Master `json:"masters,omitempty"`
}

// A Master is what attachments of a network hang on.
type Master struct {
	Name      string   `json:"name,omitempty"` // of a link; empty: each host end stands alone
	Kind      string   `json:"kind"`           // of the link, or the plugin's type
	Addresses []string `json:"addresses,omitempty"`
	Routed    bool     `json:"routed,omitempty"` // the host routes between it and all else
	Uplink    string   `json:"uplink,omitempty"` // that it is on, or is: its containers are neighbours there
	Missing   bool     `json:"missing,omitempty"`

	Attachments []Attachment `json:"attachments"`
}

// An Attachment is an interface of a container's.
type Attachment struct {
	Container string    `json:"container"` // its name, or else its ID
	ID        string    `json:"id"`
	IfName    string    `json:"ifname"`
	HostEnd   string    `json:"hostEnd,omitempty"` // the host's link that leads to it
	Cut       bool      `json:"cut,omitempty"`     // that link is missing, or the container's
	Gone      bool      `json:"gone,omitempty"`    // the container's namespace is
	Reserved  bool      `json:"reserved,omitempty"`
	Addresses []Address `json:"addresses,omitempty"`
	Ports     []Port    `json:"ports,omitempty"`
	Marks     []string  `json:"marks,omitempty"`   // isolated, limits
	Missing   []string  `json:"missing,omitempty"` // what else was made and is not there
	Others    []string  `json:"others,omitempty"`  // the container's further interfaces
}

// An Address is one of an attachment's.
type Address struct {
	Text    string `json:"address"`
	Missing bool   `json:"missing,omitempty"`
}

// A Port is one that the host forwards.
type Port struct {
	Host      string `json:"host"`      // 8080, or 192.0.2.1:8080
	Container string `json:"container"` // 80/tcp
	Missing   bool   `json:"missing,omitempty"`
}

// faulty reports whether something of the attachment is missing.
func (a Attachment) faulty() bool {
	lost := slices.ContainsFunc(a.Addresses, func(a Address) bool { return a.Missing }) || slices.ContainsFunc(a.Ports, func(p Port) bool { return p.Missing })
	return lost || a.Cut || a.Gone || len(a.Missing) > 0
}

// attachments returns how many a network has.
func (n Network) attachments() int {
	count := 0
	for _, m := range n.Masters {
		count += len(m.Attachments)
	}
	return count
}
