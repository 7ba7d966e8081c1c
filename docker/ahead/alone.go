package ahead

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
)

// The IPAM plugins whose configuration is understood here, and the one that cannot be
// asked ahead.
const (
	hostLocal = "host-local"
	static    = "static"
	dhcp      = "dhcp"
)

// asked returns the plugin of the network that delegates addresses to the one that is
// to be asked.
func asked(n *seam.Network) (*seam.PluginConfig, error) {
	at := slices.IndexFunc(n.Plugins, func(p seam.PluginConfig) bool { return p.IPAM != "" })
	switch {
	case at < 0:
		return nil, cni.Errorf(cni.CodeInvalidConfig, `network %s: no plugin has "ipam": nobody can be asked for an address without an interface`, n.Name)
	case n.Plugins[at].IPAM == dhcp:
		return nil, cni.Errorf(cni.CodeInvalidConfig, "network %s: ipam dhcp: a DHCP server gives addresses to interfaces only", n.Name)
	}
	return &n.Plugins[at], nil
}

// Alone returns the network of the same name that consists of the IPAM plugin alone, with
// the configuration that its interface plugin hands to it.
func Alone(n *seam.Network) (*seam.Network, error) {
	p, err := asked(n)
	if err != nil {
		return nil, err
	}
	o, err := wire.ParseObject(p.JSON)
	if err != nil {
		return nil, fmt.Errorf("network %s: %w", n.Name, err)
	}
	o.SetString("type", p.IPAM)
	return listOf(n, o)
}

// listOf returns a network of one plugin, named like n.
func listOf(n *seam.Network, o *wire.Object) (*seam.Network, error) {
	raw, err := json.Marshal(map[string]any{
		"cniVersion": n.Version,
		"name":       n.Name,
		"plugins":    []json.RawMessage{o.Bytes()},
	})
	if err != nil {
		return nil, err
	}
	return seam.Parse(raw, "")
}
