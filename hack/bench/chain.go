package main

import (
	"encoding/json"
	"fmt"

	"github.com/seamnet/seam/cni"
)

// The chains by name, as the page tells them. The first two have a floor to compare
// with; the others are whole, as people run them.
const (
	masqueraded = "ipMasq"
	forwarded   = "ipMasq + portmap"

	nerdctl   = "nerdctl's default"
	kubelet   = "a kubelet's"
	onMacvlan = "macvlan"
	routed    = "ptp"
)

// A recipe is what a chain consists of.
type recipe struct {
	title   string // its plugins, as a row of a table names them
	plugins []conf
	// executes are the plugins that ADD runs as programs, in order, when none is built in
	// to another; DEL runs them backwards.
	executes []string
	floor    bool
}

type conf map[string]any

// masterName is the link that macvlans stand on: an end of a veth.
const masterName = "uplink"

func recipeOf(chain string) recipe {
	subnet := fmt.Sprintf("%s/%d", gateway.Prev(), subnetBits)
	ipam := conf{"type": "host-local", "ranges": [][]conf{{{"subnet": subnet}}}}
	withDefault := conf{"type": "host-local", "ranges": [][]conf{{{"subnet": subnet}}}, "routes": []conf{{"dst": "0.0.0.0/0"}}}
	bridge := conf{"type": "bridge", "bridge": bridgeName, "isDefaultGateway": true, "ipMasq": true, "ipam": ipam}
	hairpin := conf{"type": "bridge", "bridge": bridgeName, "isGateway": true, "ipMasq": true, "hairpinMode": true, "ipam": withDefault}
	portmap := conf{"type": "portmap", "capabilities": conf{cni.CapabilityPorts: true}}
	bandwidth := conf{"type": "bandwidth", "capabilities": conf{cni.CapabilityBandwidth: true}}
	switch chain {
	case masqueraded:
		return recipe{"bridge, host-local, ipMasq", []conf{bridge}, []string{"bridge"}, true}
	case forwarded:
		return recipe{"bridge, host-local, ipMasq + portmap", []conf{bridge, portmap}, []string{"bridge", "portmap"}, true}
	case nerdctl:
		return recipe{
			"nerdctl's default: bridge (ipMasq, hairpin), host-local, portmap, firewall (same-bridge), tuning",
			[]conf{hairpin, portmap, {"type": "firewall", "ingressPolicy": "same-bridge"}, {"type": "tuning"}},
			[]string{"bridge", "portmap", "firewall", "tuning"}, false,
		}
	case kubelet:
		return recipe{
			"a kubelet's: bridge (ipMasq, hairpin), host-local, portmap, bandwidth",
			[]conf{hairpin, portmap, bandwidth}, []string{"bridge", "portmap", "bandwidth"}, false,
		}
	case onMacvlan:
		return recipe{
			"macvlan, static",
			[]conf{{"type": "macvlan", "master": masterName, "capabilities": conf{cni.CapabilityIPs: true}, "ipam": conf{"type": "static"}}},
			[]string{"macvlan"}, false,
		}
	case routed:
		return recipe{"ptp, host-local, ipMasq", []conf{{"type": "ptp", "ipMasq": true, "ipam": withDefault}}, []string{"ptp"}, false}
	}
	panic("no chain is named " + chain)
}

// conflist is the network of a chain. It is the same for all contenders.
func conflist(chain string) []byte {
	b, err := json.Marshal(conf{"cniVersion": "1.0.0", "name": networkName, "plugins": recipeOf(chain).plugins})
	if err != nil {
		panic(err) // nothing in it depends on anything
	}
	return b
}

// capabilities are what the pod asks for; each plugin gets those that it declares.
func (h Host) capabilities(p *pod) map[string]any {
	var mappings []cni.PortMapping
	for i, host := range p.ports() {
		mappings = append(mappings, cni.PortMapping{HostPort: int(host), ContainerPort: int(podPorts[i]), Protocol: "tcp"})
	}
	return map[string]any{
		cni.CapabilityPorts: mappings,
		cni.CapabilityIPs:   []string{fmt.Sprintf("%s/%d", p.addr(), subnetBits)},
		cni.CapabilityBandwidth: cni.Bandwidth{
			IngressRate: h.Rates.In, IngressBurst: burst(h.Rates.In), EgressRate: h.Rates.Out, EgressBurst: burst(h.Rates.Out),
		},
	}
}

// Rates are what pods of chains with bandwidth are limited to, in bits per second.
type Rates struct{ In, Out uint64 }

// burst is what may come at once, in bits: 20 milliseconds' worth.
func burst(rate uint64) uint64 { return rate / 50 }
