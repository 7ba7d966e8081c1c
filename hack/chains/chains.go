// Package chains lists the chains of plugins that tests attach containers with: those
// that people run, and between them every plugin and back end. It says nothing of what
// should come of them; that is the tests'.
package chains

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
)

// A Chain is a network, but for its version.
type Chain struct {
	Name    string // of the network
	Plugins string // JSON objects with commas between
	Types   []string

	// Kind is the kind of link that the kernel must be able to make; empty: what every
	// kernel for containers has.
	Kind string
	// Lent says that there must be a device for each container, which MakeDevice makes.
	Lent bool
}

// uplinks are the links that chains stand on: ipvlan shares none with macvlan. Their
// other ends are called so with a "+".
var uplinks = []string{"uplink", "uplink-ip"}

// All returns the chains. Each has addresses of its own.
func All() []Chain {
	list := []Chain{
		{Name: "guarded", Plugins: `{"type":"bridge","bridge":"guarded0","isGateway":true,"ipMasq":true,"macspoofchk":true,"ipam":DUAL},{"type":"portmap",PORTS}`},
		{Name: "nerdctl", Plugins: `{"type":"bridge","bridge":"nerdctl0","isGateway":true,"ipMasq":true,"hairpinMode":true,"ipam":SINGLE},{"type":"portmap",PORTS},
			{"type":"firewall","ingressPolicy":"same-bridge"},{"type":"tuning"}`},
		{Name: "kubelet", Plugins: `{"type":"bridge","bridge":"kubelet0","isGateway":true,"ipMasq":true,"hairpinMode":true,"ipam":DUAL},{"type":"portmap",PORTS},
			{"type":"bandwidth","capabilities":{"bandwidth":true}}`},
		{Name: "podman", Plugins: `{"type":"bridge","bridge":"podman0","isGateway":true,"ipMasq":true,"hairpinMode":true,"ipam":SINGLE},{"type":"portmap",PORTS},
			{"type":"firewall"},{"type":"tuning","capabilities":{"mac":true},"mtu":1400,"sysctl":{"net.ipv4.conf.IFNAME.arp_filter":"1"}}`},
		{Name: "routed", Plugins: `{"type":"ptp","ipMasq":true,"ipam":DUAL}`},
		{Name: "sourced", Plugins: `{"type":"bridge","bridge":"sourced0","isGateway":true,"ipam":SINGLE},{"type":"sbr"}`},
		{Name: "macvlan", Plugins: `{"type":"macvlan","master":"uplink","capabilities":{"ips":true},"ipam":{"type":"static"}}`},
		{Name: "tap", Plugins: `{"type":"tap","ipam":SINGLE}`},
		{Name: "lent", Lent: true, Plugins: `{"type":"host-device","device":"DEVICE","ipam":SINGLE}`},
		{Name: "ipvlan", Kind: "ipvlan", Plugins: `{"type":"ipvlan","master":"uplink-ip","ipam":SINGLE}`},
		{Name: "vlan", Kind: "vlan", Plugins: `{"type":"vlan","master":"uplink","vlanId":NUMBER,"ipam":SINGLE}`},
		{Name: "dummy", Kind: "vrf", Plugins: `{"type":"dummy","ipam":SINGLE},{"type":"vrf","vrfname":"red"}`},
	}
	for i := range list {
		list[i].finish(i)
	}
	return list
}

// finish fills in what differs by the chain's place in the list.
func (c *Chain) finish(place int) {
	single := fmt.Sprintf(`{"type":"host-local","ranges":[[{"subnet":"10.%d.0.0/20"}]],"routes":[{"dst":"0.0.0.0/0"}]}`, 100+place)
	dual := fmt.Sprintf(`{"type":"host-local","ranges":[[{"subnet":"10.%d.0.0/20"}],[{"subnet":"fd00:%d::/64"}]],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}]}`, 100+place, 100+place)
	c.Plugins = strings.NewReplacer("SINGLE", single, "DUAL", dual, "PORTS", `"capabilities":{"portMappings":true}`).Replace(c.Plugins)
	var plugins []struct {
		Type string
		IPAM struct{ Type string }
	}
	if err := json.Unmarshal([]byte("["+strings.ReplaceAll(c.Plugins, "NUMBER", "0")+"]"), &plugins); err != nil {
		panic(fmt.Sprintf("chain %s: %v", c.Name, err)) // nothing in it comes from outside
	}
	for _, p := range plugins {
		c.Types = append(c.Types, p.Type)
		if p.IPAM.Type != "" {
			c.Types = append(c.Types, p.IPAM.Type)
		}
	}
}

// Own reports whether each container has a configuration of its own: by a device that
// is lent to it, or by a VLAN, of which a link has only one of each number.
func (c Chain) Own() bool {
	return strings.Contains(c.Plugins, "DEVICE") || strings.Contains(c.Plugins, "NUMBER")
}

// Conflist returns the network's configuration, of container n if it is its own, with
// further plugins at its end.
func (c Chain) Conflist(version string, n int, further ...string) []byte {
	plugins := strings.Join(append([]string{strings.NewReplacer("DEVICE", device(n), "NUMBER", fmt.Sprint(1+n)).Replace(c.Plugins)}, further...), ",")
	return fmt.Appendf(nil, `{"cniVersion":%q,"name":%q,"plugins":[%s]}`, version, c.Name, plugins)
}

// Capabilities are what container n asks for, all of them: plugins get those that
// they declare. Numbers are below 1,000 and each container has its own, whatever its chain.
func Capabilities(n int) map[string]any {
	return map[string]any{
		cni.CapabilityPorts: []cni.PortMapping{
			{HostPort: 20000 + n, ContainerPort: 80, Protocol: "tcp"}, {HostPort: 20000 + n, ContainerPort: 53, Protocol: "udp"},
		},
		cni.CapabilityIPs:       []string{fmt.Sprintf("10.99.%d.%d/16", n/250, 1+n%250)},
		cni.CapabilityMAC:       fmt.Sprintf("02:00:00:00:%02x:%02x", n/256, n%256),
		cni.CapabilityBandwidth: cni.Bandwidth{IngressRate: 1e9, IngressBurst: 1e7, EgressRate: 1e9, EgressBurst: 1e7},
	}
}

// MakeUplinks makes the links that chains stand on, up.
func MakeUplinks(links *link.Handle) error {
	var errs []error
	for _, name := range uplinks {
		errs = append(errs, makePair(links, name, name+"+"))
	}
	return errors.Join(errs...)
}

// MakeDevice makes the device that container n of a chain that lends one gets. It is
// an end of a veth, whose other end keeps it from being lost.
func MakeDevice(links *link.Handle, n int) error {
	return makePair(links, device(n), fmt.Sprintf("far%d", n))
}

// DeleteDevice deletes it, wherever it is.
func DeleteDevice(links *link.Handle, n int) error { return links.Delete(fmt.Sprintf("far%d", n)) }

func device(n int) string { return fmt.Sprintf("dev%d", n) }

func makePair(links *link.Handle, name, peer string) error {
	if err := links.AddVeth(link.Veth{Name: name, PeerName: peer}); err != nil {
		return err
	}
	return errors.Join(
		links.Set(link.Link{Name: name}, link.Change{Up: true}),
		links.Set(link.Link{Name: peer}, link.Change{Up: true}),
	)
}

// Runs reports whether the kernel can make the links that the chain needs.
func (c Chain) Runs(links *link.Handle) (bool, error) {
	if c.Kind == "" {
		return true, nil
	}
	return links.Supports(c.Kind)
}
