package cni

import "net/netip"

// The names of the well-known capabilities (the conventions of CNI, "Dynamic
// Plugin specific fields"): keys of "capabilities" and of "runtimeConfig".
const (
	CapabilityPorts     = "portMappings"
	CapabilityIPRanges  = "ipRanges"
	CapabilityBandwidth = "bandwidth"
	CapabilityDNS       = "dns"
	CapabilityIPs       = "ips"
	CapabilityMAC       = "mac"
	CapabilityAliases   = "aliases"
)

// A PortMapping is an element of the capability portMappings: a port of the host
// that leads to one of the container.
type PortMapping struct {
	HostPort      int    `json:"hostPort"`      // 1 to 65535
	ContainerPort int    `json:"containerPort"` // 1 to 65535
	Protocol      string `json:"protocol"`      // tcp, udp or sctp in any case; empty: tcp
	HostIP        string `json:"hostIP,omitempty"`
}

// Bandwidth is the value of the capability bandwidth. Rates are bits per second,
// bursts bits; 0 means no limit.
type Bandwidth struct {
	IngressRate  uint64 `json:"ingressRate,omitempty"`
	IngressBurst uint64 `json:"ingressBurst,omitempty"`
	EgressRate   uint64 `json:"egressRate,omitempty"`
	EgressBurst  uint64 `json:"egressBurst,omitempty"`
}

// ParseAddr parses an address that may carry a prefix length, as "ips" allow. The
// length is invalid (-1) when it is not given.
func ParseAddr(s string) (addr netip.Addr, bits int, err error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Addr(), p.Bits(), nil
	}
	addr, err = netip.ParseAddr(s)
	return addr, -1, err
}
