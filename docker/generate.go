package docker

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cnm"
)

// generatedVersion is the version of CNI's specification that generated networks are of: one that
// older plugins know, too, which may stand in the place of the built-in ones.
const generatedVersion = "1.0.0"

// bridgeDigits of the network's ID follow "sm-" in the name of its bridge, as many as a
// link's name has room for.
const bridgeDigits = 12

// A generator makes the chain of a network from its options.
type generator struct {
	*linkOptions
	network *cnm.Network
	pools   []cnm.AddressPool // those that give addresses
}

// generate makes a network that has no configuration among the host's: the list, as Parse
// reads it. Its addresses are left to pin, unless -o seam.ipam names a plugin.
func generate(n *cnm.Network, o *options) ([]byte, error) {
	g := generator{linkOptions: &o.link, network: n}
	for _, pool := range n.Pools {
		if subnetOf(pool).IsValid() { // the null IPAM driver has none
			g.pools = append(g.pools, pool)
		}
	}
	if err := g.check(); err != nil {
		return nil, err
	}
	list := map[string]any{
		"cniVersion": generatedVersion,
		"name":       "docker-" + short(string(n.ID)),
		"plugins":    g.plugins(),
	}
	raw, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("network made of options: %w", err)
	}
	_, err = seam.Parse(raw, "")
	return raw, err
}

// check refuses what cannot be promised together.
func (g *generator) check() error {
	switch {
	case g.ipam != nil && len(g.pools) > 0:
		return errors.New("-o seam.ipam gives addresses, and so does the network's IPAM driver: add --ipam-driver null")
	case g.isolated && !g.network.Internal:
		return errors.New("the gateway mode isolated is for networks that are --internal")
	case g.network.Internal && g.kind == kindPtp:
		return errors.New("--internal: the containers of a ptp network reach one another by way of the host only: leave out -o seam.type")
	case g.network.Internal && g.master == "" && (g.kind == kindMacvlan || g.kind == kindIpvlan):
		return fmt.Errorf("--internal: without -o parent a %s network would stand on the interface of the host's default route: name another", g.kind)
	}
	return nil
}

func (g *generator) plugins() []any {
	switch g.kind {
	case kindBridge:
		return g.bridgePlugins()
	case kindPtp:
		ptp := g.base()
		plugins := []any{ptp}
		plugins = append(plugins, g.masquerade(ptp)...)
		return append(plugins, portmap(), bandwidth())
	}
	stacked := g.base()
	if g.master != "" {
		stacked["master"] = g.master
	}
	if g.mode != "" {
		stacked["mode"] = g.mode
	}
	if g.kind == kindMacvlan {
		stacked["capabilities"] = map[string]bool{"mac": true}
	}
	return []any{stacked}
}

// base are the keys that all kinds have.
func (g *generator) base() map[string]any {
	p := map[string]any{"type": g.kind}
	if g.mtu != 0 {
		p["mtu"] = g.mtu
	}
	if ipam := g.addresses(); ipam != nil {
		p["ipam"] = ipam
	}
	return p
}

// addresses is the section "ipam": without addresses if an IPAM driver gives them, which
// pin fills in. nil: there is none, and the interfaces have no addresses.
func (g *generator) addresses() any {
	if g.ipam != nil {
		return g.ipam
	}
	if len(g.pools) == 0 {
		return nil
	}
	type route struct {
		Dst netip.Prefix `json:"dst"`
	}
	section := struct {
		Type   string  `json:"type"`
		Routes []route `json:"routes,omitempty"`
	}{Type: "static"}
	for _, everything := range []netip.Prefix{everything4(), everything6()} {
		out := slices.ContainsFunc(g.pools, func(p cnm.AddressPool) bool {
			return p.Gateway.IsValid() && p.Subnet.Addr().Is4() == everything.Addr().Is4()
		})
		if out && !g.network.Internal {
			section.Routes = append(section.Routes, route{everything})
		}
	}
	return section
}

func everything4() netip.Prefix { return netip.PrefixFrom(netip.IPv4Unspecified(), 0) }
func everything6() netip.Prefix { return netip.PrefixFrom(netip.IPv6Unspecified(), 0) }

// bridgePlugins are what Docker's own bridge driver promises: a way out under the host's
// address, published ports, and networks that do not reach one another. The bridge of an
// internal network has no address, so that nothing leads in or out.
func (g *generator) bridgePlugins() []any {
	bridge := g.base()
	bridge["bridge"] = g.bridge
	if g.bridge == "" {
		bridge["bridge"] = "sm-" + string(g.network.ID)[:min(bridgeDigits, len(g.network.ID))]
	}
	bridge["hairpinMode"] = true
	bridge["capabilities"] = map[string]bool{"mac": true}
	if g.vlan != 0 {
		bridge["vlan"] = g.vlan
	}
	if g.neighbours != nil && !*g.neighbours {
		bridge["portIsolation"] = true
	}
	// The server of another machine knows the gateway: it is not this bridge.
	if or(g.gateway, !g.network.Internal && g.ipamType() != "dhcp") {
		bridge["isGateway"] = true
		bridge["isDefaultGateway"] = g.ipam != nil && !g.network.Internal
	}
	plugins := append([]any{bridge}, g.masquerade(bridge)...)
	firewall := map[string]any{"type": "firewall"}
	if or(g.isolate, true) {
		firewall["ingressPolicy"] = "same-bridge"
	}
	return append(plugins, portmap(), firewall, bandwidth())
}

// masquerade gives the way out under the host's address: a key of the first plugin or,
// for one family only, a plugin of its own.
func (g *generator) masquerade(first map[string]any) []any {
	masq4, masq6 := or(g.masq4, true), or(g.masq6, true)
	switch {
	case g.network.Internal || !masq4 && !masq6:
		return nil
	case masq4 && masq6:
		first["ipMasq"] = true
		return nil
	}
	except := everything4()
	if masq4 {
		except = everything6()
	}
	return []any{map[string]any{"type": "masquerade", "except": []netip.Prefix{except}}}
}

func (g *generator) ipamType() string {
	var section struct {
		Type string `json:"type"`
	}
	if g.ipam != nil {
		_ = json.Unmarshal(g.ipam, &section) // readIPAM has read it
	}
	return section.Type
}

// portmap and bandwidth do nothing until a container has a port or a limit.
func portmap() any {
	return map[string]any{"type": "portmap", "capabilities": map[string]bool{"portMappings": true}}
}

func bandwidth() any {
	return map[string]any{"type": "bandwidth", "capabilities": map[string]bool{"bandwidth": true}}
}

func or(b *bool, otherwise bool) bool {
	if b != nil {
		return *b
	}
	return otherwise
}

// bridgeOf returns the bridge that a generated list makes; empty: none.
func bridgeOf(conflist []byte) string {
	var list struct {
		Plugins []struct {
			Type   string `json:"type"`
			Bridge string `json:"bridge"`
		} `json:"plugins"`
	}
	if err := json.Unmarshal(conflist, &list); err != nil || len(list.Plugins) == 0 || list.Plugins[0].Type != string(kindBridge) {
		return ""
	}
	return list.Plugins[0].Bridge
}
