package cni

import (
	"net"
	"net/netip"
	"slices"
)

// A Result is what an attachment came to: the one form inside Seam, whatever
// version of the specification a caller speaks (cni/wire converts).
type Result struct {
	Interfaces []Interface
	IPs        []IP
	Routes     []Route
	DNS        DNS
}

// An Interface was made or changed for the attachment.
type Interface struct {
	Name       string
	MAC        net.HardwareAddr // nil when it has none or the maker did not say
	MTU        int              // bytes; 0: not said
	Sandbox    string           // the path of the pod's namespace; empty: the interface is the host's
	SocketPath string           // of a userspace interface
	PciID      string           // of a PCI device
}

// An IP is an address of the attachment.
type IP struct {
	Address   netip.Prefix // the host's address with its subnet's length, not the network
	Gateway   netip.Addr   // invalid: none. By itself it makes no route
	Interface *int         // index into Interfaces; nil in an IPAM plugin's result
}

// A Route is to be made, or was made, in the pod. Its JSON form is the same in
// every version since 0.3.0.
type Route struct {
	Dst      netip.Prefix `json:"dst"`
	GW       netip.Addr   `json:"gw,omitzero"` // invalid: the first gateway of the family in Result.IPs
	MTU      int          `json:"mtu,omitempty"`
	AdvMSS   int          `json:"advmss,omitempty"`
	Priority int          `json:"priority,omitempty"`
	Table    *int         `json:"table,omitempty"` // nil: main
	Scope    *int         `json:"scope,omitempty"` // 0 global, 253 link, 254 host; nil: global
}

// DNS is what the runtime may write into the pod's resolver configuration.
type DNS struct {
	Nameservers []string `json:"nameservers,omitempty"`
	Domain      string   `json:"domain,omitempty"`
	Search      []string `json:"search,omitempty"`
	Options     []string `json:"options,omitempty"`
}

// IsZero reports whether nothing is set.
func (d DNS) IsZero() bool {
	return len(d.Nameservers) == 0 && d.Domain == "" && len(d.Search) == 0 && len(d.Options) == 0
}

// Clone returns a copy that shares nothing with r; of nil it is an empty Result.
func (r *Result) Clone() *Result {
	if r == nil {
		return &Result{}
	}
	c := &Result{
		Interfaces: slices.Clone(r.Interfaces),
		IPs:        slices.Clone(r.IPs),
		Routes:     slices.Clone(r.Routes),
		DNS: DNS{
			Nameservers: slices.Clone(r.DNS.Nameservers),
			Domain:      r.DNS.Domain,
			Search:      slices.Clone(r.DNS.Search),
			Options:     slices.Clone(r.DNS.Options),
		},
	}
	for i := range c.Interfaces {
		c.Interfaces[i].MAC = slices.Clone(c.Interfaces[i].MAC)
	}
	for i := range c.IPs {
		c.IPs[i].Interface = clonePointer(c.IPs[i].Interface)
	}
	for i := range c.Routes {
		c.Routes[i].Table = clonePointer(c.Routes[i].Table)
		c.Routes[i].Scope = clonePointer(c.Routes[i].Scope)
	}
	return c
}

// Gateway returns the first gateway of dst's family, invalid if there is none.
func (r *Result) Gateway(dst netip.Addr) netip.Addr {
	for _, ip := range r.IPs {
		if ip.Gateway.IsValid() && ip.Gateway.Is4() == dst.Is4() {
			return ip.Gateway
		}
	}
	return netip.Addr{}
}

// PodIPs returns the addresses that ifname holds inside the sandbox; an address
// without an interface index counts, as results of version 0.2.0 have none.
func (r *Result) PodIPs(ifname string) []IP {
	var ips []IP
	for _, ip := range r.IPs {
		i := ip.Interface
		if i == nil || *i < 0 || *i >= len(r.Interfaces) ||
			(r.Interfaces[*i].Name == ifname && r.Interfaces[*i].Sandbox != "") {
			ips = append(ips, ip)
		}
	}
	return ips
}

func clonePointer[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}
