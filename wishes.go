package seam

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/seamnet/seam/cni"
)

// Wishes are what a container is to have on a network beside what the network's file
// gives to all, in the words of people: flags, annotations.
type Wishes struct {
	Ports        []cni.PortMapping
	Bandwidth    cni.Bandwidth              // the zero value: no limits
	IPs          []string                   // with or without prefix length
	MAC          string                     // empty: any
	Args         cni.Args                   // CNI_ARGS
	Capabilities map[string]json.RawMessage // others, by name
}

// An UntakenError is a wish that no plugin of the network takes. It would be lost in
// silence.
type UntakenError struct {
	Network    *Network
	Capability string
}

func (e *UntakenError) Error() string {
	return fmt.Sprintf("network %s: no plugin takes the capability %s", e.Network.Name, e.Capability)
}

// Hint says what to do about it.
func (e *UntakenError) Hint() string {
	return fmt.Sprintf(`add a plugin that does to %s, with "capabilities": {"%s": true}`, e.Network.File, e.Capability)
}

// Express returns the wishes as what a Container carries to the plugins of n.
// Addresses go as CNI_ARGS to networks that do not take them as capabilities, as Podman
// sends them. Both are nil if nothing is wished, so that Check and Detach go by the
// record. The only error is an *UntakenError.
func (w *Wishes) Express(n *Network) (cni.Args, map[string]json.RawMessage, error) {
	taken := n.Capabilities()
	args, caps := slices.Clone(w.Args), make(map[string]json.RawMessage)
	maps.Copy(caps, w.Capabilities)
	if len(w.Ports) > 0 {
		caps[cni.CapabilityPorts] = encode(w.Ports)
	}
	if w.Bandwidth != (cni.Bandwidth{}) {
		caps[cni.CapabilityBandwidth] = encode(w.Bandwidth)
	}
	if slices.Contains(taken, cni.CapabilityIPs) && len(w.IPs) > 0 {
		caps[cni.CapabilityIPs] = encode(w.IPs)
	} else if len(w.IPs) > 0 {
		args = append(args, cni.Arg{Key: "IP", Value: strings.Join(w.IPs, ",")})
	}
	if slices.Contains(taken, cni.CapabilityMAC) && w.MAC != "" {
		caps[cni.CapabilityMAC] = encode(w.MAC)
	} else if w.MAC != "" {
		args = append(args, cni.Arg{Key: "MAC", Value: w.MAC})
	}
	if len(args) > len(w.Args) && args.Get("IgnoreUnknown") == "" {
		args = append(args, cni.Arg{Key: "IgnoreUnknown", Value: "1"})
	}
	for _, name := range slices.Sorted(maps.Keys(caps)) {
		if !slices.Contains(taken, name) {
			return nil, nil, &UntakenError{n, name}
		}
	}
	if len(caps) == 0 {
		caps = nil
	}
	return args, caps, nil
}

// encode returns the JSON of a value that has one.
func encode(v any) json.RawMessage {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}
