package portmap

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/nft"
)

// Config is the plugin's configuration, with all keys of the reference plugin.
type Config struct {
	Backend              string   `json:"backend"`              // iptables or nftables: whose words the others are in
	SNAT                 bool     `json:"snat"`                 // masquerade what could not be answered otherwise
	MasqAll              bool     `json:"masqAll"`              // masquerade all, whoever connects
	MarkMasqBit          *int     `json:"markMasqBit"`          // of iptables; no mark is needed here
	ExternalSetMarkChain *string  `json:"externalSetMarkChain"` // of iptables, like it
	ConditionsV4         []string `json:"conditionsV4"`         // what must hold of who is forwarded
	ConditionsV6         []string `json:"conditionsV6"`

	RuntimeConfig struct {
		PortMappings []cni.PortMapping `json:"portMappings"`
	} `json:"runtimeConfig"`

	mappings []mapping
	limits   map[bool][]nft.Condition // the conditions, of IPv4 under true
}

// Default returns the configuration without any key.
func Default() *Config { return &Config{SNAT: true} }

// With says that no port will be mapped, which ADD cannot know.
func (c *Config) With(capabilities map[string]bool) error {
	if capabilities[cni.CapabilityPorts] || len(c.RuntimeConfig.PortMappings) > 0 {
		return nil
	}
	return errors.New(`capabilities: without {"portMappings": true} no port ever arrives`)
}

// A mapping is a valid cni.PortMapping.
type mapping struct {
	protocol nft.Protocol
	hostIP   netip.Addr // invalid: every address of both families
	hostPort uint16
	podPort  uint16
}

// Validate is called by Request.Decode.
func (c *Config) Validate() error {
	if c.MarkMasqBit != nil && (*c.MarkMasqBit < 0 || *c.MarkMasqBit > 31) {
		return fmt.Errorf("markMasqBit %d: must be 0 to 31", *c.MarkMasqBit)
	}
	if c.MarkMasqBit != nil && c.ExternalSetMarkChain != nil {
		return fmt.Errorf("markMasqBit and externalSetMarkChain: only one can be given")
	}
	if err := c.validateBackend(); err != nil {
		return err
	}
	if err := c.validateConditions(); err != nil {
		return err
	}
	return c.validateMappings()
}

func (c *Config) validateMappings() error {
	c.mappings = nil
	for i, p := range c.RuntimeConfig.PortMappings {
		m, err := parseMapping(p)
		if err != nil {
			return fmt.Errorf("portMappings[%d]: %w", i, err)
		}
		for _, other := range c.mappings {
			if m.sameHostPort(other) && m.podPort != other.podPort {
				return fmt.Errorf("portMappings[%d]: host port %s/%d leads to container ports %d and %d", i, m.protocol, m.hostPort, other.podPort, m.podPort)
			}
		}
		c.mappings = append(c.mappings, m)
	}
	return nil
}

func parseMapping(p cni.PortMapping) (mapping, error) {
	m := mapping{protocol: nft.Protocol(strings.ToLower(p.Protocol)), hostPort: uint16(p.HostPort), podPort: uint16(p.ContainerPort)}
	if m.protocol == "" {
		m.protocol = nft.TCP
	}
	switch {
	case p.HostPort < 1 || p.HostPort > 65535:
		return m, fmt.Errorf("hostPort %d: must be 1 to 65535", p.HostPort)
	case p.ContainerPort < 1 || p.ContainerPort > 65535:
		return m, fmt.Errorf("containerPort %d: must be 1 to 65535", p.ContainerPort)
	case m.protocol.Number() == 0:
		return m, fmt.Errorf("protocol %q: must be tcp, udp or sctp", p.Protocol)
	case p.HostIP == "":
		return m, nil
	}
	ip, err := netip.ParseAddr(p.HostIP)
	if err != nil || ip.Zone() != "" {
		return m, fmt.Errorf("hostIP %q: not an IP address", p.HostIP)
	}
	m.hostIP = ip.Unmap()
	return m, nil
}

// sameHostPort reports whether both want the same element of the firewall.
func (m mapping) sameHostPort(other mapping) bool {
	if m.protocol != other.protocol || m.hostPort != other.hostPort {
		return false
	}
	if m.anyHostIP() && other.anyHostIP() {
		return !m.hostIP.IsValid() || !other.hostIP.IsValid() || m.hostIP == other.hostIP
	}
	return m.hostIP == other.hostIP
}

// anyHostIP reports whether every address of the host is meant, of one family if
// hostIP is that family's unspecified address.
func (m mapping) anyHostIP() bool { return !m.hostIP.IsValid() || m.hostIP.IsUnspecified() }

// of reports whether the mapping is for addr's family.
func (m mapping) of(addr netip.Addr) bool { return !m.hostIP.IsValid() || m.hostIP.Is4() == addr.Is4() }
