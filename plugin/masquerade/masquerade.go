// Package masquerade gives what a pod sends out of its networks the host's address:
// the plugin "masquerade", chained after one that makes an interface.
//
// It is ipMasq of the interface plugins as a plugin of its own, with a list of
// destinations that are left alone. It does not route, nor admit traffic through
// the host's firewall. To see its work: nft list table inet seam, map masq4 and
// masq6; conntrack -L -n for connections that are masqueraded.
package masquerade

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/nft"
	"github.com/seamnet/seam/plugin"
)

// Config is the plugin's configuration.
type Config struct {
	Except          []netip.Prefix `json:"except"`          // destinations that are not masqueraded
	ExceptOwnSubnet bool           `json:"exceptOwnSubnet"` // those of the pod's addresses are not either
}

// Default returns the configuration without any key.
func Default() *Config { return &Config{ExceptOwnSubnet: true} }

// New returns the plugin on that host.
func New(h *plugin.Host) cni.Plugin {
	return plugin.Chained(h, func() plugin.Filter { return Default() }, nil)
}

// Validate is called by Request.Decode.
func (c *Config) Validate() error {
	for _, p := range c.Except {
		if !p.IsValid() {
			return errors.New("except: an empty prefix")
		}
		if p.Addr().Is4In6() {
			return fmt.Errorf("except: %s: write an IPv4 prefix as such", p)
		}
	}
	return nil
}

// Beside says that an interface plugin of the same network does this already.
func (c *Config) Beside(other any) error {
	if maker, ok := other.(plugin.Device); ok && maker.Common().IPMasq {
		return errors.New("ipMasq of the plugin that makes the interface does the same, and its CHECK fails beside this one: use one of them")
	}
	return nil
}

// Elements returns a masquerade for each of the pod's addresses.
func (c *Config) Elements(r *cni.Request) ([]nft.Element, error) {
	ips := r.Prev.PodIPs(r.IfName)
	except := slices.Clone(c.Except)
	if c.ExceptOwnSubnet {
		for _, ip := range ips {
			except = append(except, plugin.Subnets(ip)...)
		}
	}
	var elements []nft.Element
	for _, ip := range ips {
		elements = append(elements, nft.Masquerade{Source: ip.Address.Addr(), Except: ofFamily(except, ip.Address.Addr())})
	}
	return elements, nil
}

// ofFamily keeps a record to what matters for the address.
func ofFamily(prefixes []netip.Prefix, addr netip.Addr) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(prefixes), func(p netip.Prefix) bool { return p.Addr().Is4() != addr.Is4() })
}

// Settle has nothing to add.
func (c *Config) Settle(*plugin.Host, *cni.Request, []nft.Element) error { return nil }

// Settled has nothing to compare.
func (c *Config) Settled(*plugin.Host, *cni.Request, []nft.Element) error { return nil }
