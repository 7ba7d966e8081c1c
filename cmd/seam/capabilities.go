package main

import (
	"encoding/json"
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
)

// capabilities returns what CAP_ARGS holds, and the flags over it; nil if they say
// nothing, so that check and del go by the record. What a flag asks for and no plugin of
// the network takes is an error: it would be lost in silence.
func (f *containerFlags) capabilities(getenv func(string) string, n *seam.Network) (map[string]json.RawMessage, error) {
	var caps map[string]json.RawMessage
	if env := getenv("CAP_ARGS"); env != "" {
		if err := json.Unmarshal([]byte(env), &caps); err != nil {
			return nil, usage("CAP_ARGS: not a JSON object: %v", err)
		}
	}
	asked, err := f.askedCapabilities(n)
	if err != nil {
		return nil, err
	}
	if caps == nil && len(asked) > 0 {
		caps = make(map[string]json.RawMessage)
	}
	taken := n.Capabilities()
	for _, name := range slices.Sorted(maps.Keys(asked)) {
		if !slices.Contains(taken, name) {
			return nil, hint(usage("network %s: no plugin takes the capability %s", n.Name, name),
				`add a plugin that does to %s, with "capabilities": {"%s": true}`, n.File, name)
		}
		caps[name] = asked[name]
	}
	return caps, nil
}

func (f *containerFlags) askedCapabilities(n *seam.Network) (map[string]json.RawMessage, error) {
	asked := map[string]json.RawMessage{}
	for _, s := range f.caps {
		name, value, ok := strings.Cut(s, "=")
		if !ok || name == "" || !json.Valid([]byte(value)) {
			return nil, usage("--cap %q: it is NAME=JSON, such as aliases='[\"web\"]'", s)
		}
		asked[name] = json.RawMessage(value)
	}
	if len(f.ports) > 0 {
		var ports []cni.PortMapping
		for _, s := range f.ports {
			m, err := parsePort(s)
			if err != nil {
				return nil, err
			}
			ports = append(ports, m)
		}
		asked[cni.CapabilityPorts] = encode(ports)
	}
	if f.bandwidth != "" {
		b, err := parseBandwidth(f.bandwidth)
		if err != nil {
			return nil, err
		}
		asked[cni.CapabilityBandwidth] = encode(b)
	}
	if len(f.ips) > 0 && takes(n, cni.CapabilityIPs) {
		asked[cni.CapabilityIPs] = encode(f.ips)
	}
	if f.mac != "" && takes(n, cni.CapabilityMAC) {
		asked[cni.CapabilityMAC] = encode(f.mac)
	}
	return asked, nil
}

// arguments returns what CNI_ARGS holds and the flags after it. Addresses go this
// way to networks that do not take them as capabilities, as Podman sends them.
func (f *containerFlags) arguments(getenv func(string) string, n *seam.Network) (cni.Args, error) {
	args, err := cni.ParseArgs(getenv("CNI_ARGS"))
	if err != nil {
		return nil, err
	}
	for _, s := range f.args {
		more, err := cni.ParseArgs(s)
		if err != nil || len(more) == 0 {
			return nil, usage("--args %q: it is KEY=VALUE", s)
		}
		args = append(args, more...)
	}
	before := len(args)
	if len(f.ips) > 0 && !takes(n, cni.CapabilityIPs) {
		args = append(args, cni.Arg{Key: "IP", Value: strings.Join(f.ips, ",")})
	}
	if f.mac != "" && !takes(n, cni.CapabilityMAC) {
		args = append(args, cni.Arg{Key: "MAC", Value: f.mac})
	}
	if len(args) > before && args.Get("IgnoreUnknown") == "" {
		args = append(args, cni.Arg{Key: "IgnoreUnknown", Value: "1"})
	}
	return args, nil
}

func takes(n *seam.Network, capability string) bool {
	return slices.Contains(n.Capabilities(), capability)
}

// validate reports addresses that are none before anything is touched.
func (f *containerFlags) validate() error {
	for _, s := range f.ips {
		if _, _, err := cni.ParseAddr(s); err != nil {
			return usage("--ip %q: not an address such as 10.1.0.7 or fd00::7/64", s)
		}
	}
	if f.mac != "" {
		if hw, err := net.ParseMAC(f.mac); err != nil || len(hw) != 6 {
			return usage("--mac %q: not an address such as 02:00:00:00:00:01", f.mac)
		}
	}
	return nil
}

// encode returns the JSON of a value that has one.
func encode(v any) json.RawMessage {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}
