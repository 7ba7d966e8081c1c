package portmap

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/nft"
)

const (
	iptables = "iptables"
	nftables = "nftables"
)

// validateBackend refuses keys that are another backend's than the one that is asked
// for. Without backend, the keys say which is meant, as they must agree.
func (c *Config) validateBackend() error {
	foreign := map[string][]string{}
	if c.ExternalSetMarkChain != nil {
		foreign[nftables] = append(foreign[nftables], "externalSetMarkChain")
	}
	for _, l := range c.lists() {
		switch languageOf(l.words) {
		case iptables:
			foreign[nftables] = append(foreign[nftables], l.key)
		case nftables:
			foreign[iptables] = append(foreign[iptables], l.key)
		}
	}
	switch c.Backend {
	case "":
		if len(foreign[iptables]) > 0 && len(foreign[nftables]) > 0 {
			return fmt.Errorf("%s is in the words of iptables and %s in those of nftables: only one of them can be meant",
				strings.Join(foreign[nftables], " and "), strings.Join(foreign[iptables], " and "))
		}
	case iptables, nftables:
		if keys := foreign[c.Backend]; len(keys) > 0 {
			return fmt.Errorf("backend %s: %s is in the words of the other backend", c.Backend, strings.Join(keys, " and "))
		}
	default:
		return fmt.Errorf("backend %q: must be iptables or nftables", c.Backend)
	}
	return nil
}

// A conditionList is one of the two keys that hold conditions.
type conditionList struct {
	key   string
	words []string
	of    netip.Addr // any of the family
}

func (c *Config) lists() []conditionList {
	return []conditionList{
		{"conditionsV4", c.ConditionsV4, netip.IPv4Unspecified()},
		{"conditionsV6", c.ConditionsV6, netip.IPv6Unspecified()},
	}
}

// languageOf tells a condition of iptables by how it begins, "" if there is none.
func languageOf(words []string) string {
	switch {
	case len(words) == 0 || words[0] == "":
		return ""
	case words[0][0] == '-' || words[0][0] == '!':
		return iptables
	}
	return nftables
}

// validateConditions refuses what it does not know: to pass a condition over would open
// the port to those whom it is meant to keep out.
func (c *Config) validateConditions() error {
	c.limits = make(map[bool][]nft.Condition)
	for _, l := range c.lists() {
		read := readIPTables
		if c.Backend == nftables || languageOf(l.words) == nftables {
			read = readNFT
		}
		conditions, err := read(l.words, l.of)
		for _, condition := range conditions {
			err = errors.Join(err, condition.Validate(l.of))
		}
		if err != nil {
			return cni.Errorf(cni.CodeUnsupportedField, "portmap: %s %q: %w", l.key, l.words, err).
				WithDetails("portmap's README lists what conditions can say; a rule of your own in a forward chain can say the rest")
		}
		c.limits[l.of.Is4()] = conditions
	}
	return nil
}

// addresses makes a condition of prefixes; one that always holds is none.
func addresses(field nft.Field, not bool, prefixes []netip.Prefix) ([]nft.Condition, error) {
	for _, p := range prefixes {
		switch {
		case p.Bits() == 0 && not:
			return nil, fmt.Errorf("not from or to %s: never holds", p)
		case p.Bits() == 0:
			return nil, nil
		}
	}
	return []nft.Condition{{Field: field, Not: not, Prefixes: prefixes}}, nil
}

// parsePrefix reads an address, which stands for itself, or a prefix, of to's family.
func parsePrefix(s string, of netip.Addr) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if a, err2 := netip.ParseAddr(s); err2 == nil && a.Zone() == "" {
		p, err = a.Prefix(a.BitLen())
	}
	if err != nil || p.Addr().Is4In6() || p.Addr().Is4() != of.Is4() {
		family := "IPv6"
		if of.Is4() {
			family = "IPv4"
		}
		return p, fmt.Errorf("%q: not an %s address or prefix", s, family)
	}
	return p.Masked(), nil
}
