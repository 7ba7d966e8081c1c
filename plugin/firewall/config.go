package firewall

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seamnet/seam/cni"
)

// A Backend is a firewall of the host.
type Backend string

// The back ends. Auto is the one that the host's policy lives in; see README.md.
const (
	Auto      Backend = ""
	NFTables  Backend = "nftables"
	IPTables  Backend = "iptables"
	Firewalld Backend = "firewalld"
)

// A Policy says who may open connections to a pod of a bridge.
type Policy string

// The policies: everyone; everyone but pods of other bridges with a policy;
// these and the neighbours on the bridge neither.
const (
	Open       Policy = "open"
	SameBridge Policy = "same-bridge"
	Isolated   Policy = "isolated"
)

// Config is the plugin's configuration.
type Config struct {
	Backend       Backend `json:"backend"`
	AdminChain    string  `json:"iptablesAdminChainName"` // of the back end iptables, and how it is told
	Zone          string  `json:"firewalldZone"`
	IngressPolicy Policy  `json:"ingressPolicy"`
}

// Default returns the configuration without any key.
func Default() *Config {
	return &Config{AdminChain: "CNI-ADMIN", Zone: "trusted", IngressPolicy: Open}
}

// Validate is called by Request.Decode. An empty string is as good as no key, as
// runtimes write templates.
func (c *Config) Validate() error {
	c.fill()
	if !slices.Contains([]Backend{Auto, NFTables, IPTables, Firewalld}, c.Backend) {
		return fmt.Errorf("backend %q: must be nftables, iptables or firewalld, or be left out to find it", c.Backend)
	}
	if !slices.Contains([]Policy{Open, SameBridge, Isolated}, c.IngressPolicy) {
		return fmt.Errorf("ingressPolicy %q: must be open, same-bridge or isolated", c.IngressPolicy)
	}
	if err := validChain(c.AdminChain); err != nil {
		return fmt.Errorf("iptablesAdminChainName %q: %w", c.AdminChain, err)
	}
	if strings.ContainsFunc(c.Zone, func(r rune) bool { return r <= ' ' || r == '/' }) {
		return fmt.Errorf("firewalldZone %q: not a zone's name", c.Zone)
	}
	return nil
}

func (c *Config) fill() {
	defaults := Default()
	if c.AdminChain == "" {
		c.AdminChain = defaults.AdminChain
	}
	if c.Zone == "" {
		c.Zone = defaults.Zone
	}
	if c.IngressPolicy == "" {
		c.IngressPolicy = defaults.IngressPolicy
	}
}

// longestChain is of iptables: XT_EXTENSION_MAXNAMELEN, less its end.
const longestChain = 28

func validChain(name string) error {
	builtIn := []string{"INPUT", "FORWARD", "OUTPUT", "ACCEPT", "DROP", "RETURN", "QUEUE", forwardChain, stage1Chain, stage2Chain}
	switch {
	case len(name) > longestChain:
		return fmt.Errorf("longer than %d characters", longestChain)
	case slices.Contains(builtIn, name):
		return fmt.Errorf("is not the administrator's")
	case !plainWord(name):
		return fmt.Errorf("not a chain's name")
	}
	return nil
}

// plainWord reports whether iptables-restore takes the word as it stands.
func plainWord(s string) bool {
	return s != "" && s[0] != '-' && s[0] != '!' && s[0] != ':' &&
		!strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"'\+`, r) })
}

// tooOld are the versions that the plugin refuses, as the reference does: there is no
// CHECK in them.
func tooOld(version string) bool {
	return slices.Contains([]string{"", "0.1.0", "0.2.0", "0.3.0", "0.3.1"}, version)
}

var errTooOld = cni.Errorf(cni.CodeIncompatibleVersion, "firewall: needs cniVersion 0.4.0 or later")
