package main

import (
	"encoding/json"
	"errors"
	"maps"
	"net"
	"strings"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
)

// express returns what CNI_ARGS and CAP_ARGS hold, and the flags over it; nil where
// they say nothing, so that check and del go by the record. What a flag asks for and no
// plugin of the network takes is an error: it would be lost in silence. A value of
// CAP_ARGS is not, as cnitool's is not.
func (f *containerFlags) express(getenv func(string) string, n *seam.Network) (cni.Args, map[string]json.RawMessage, error) {
	var caps map[string]json.RawMessage
	if env := getenv("CAP_ARGS"); env != "" {
		if err := json.Unmarshal([]byte(env), &caps); err != nil {
			return nil, nil, usage("CAP_ARGS: not a JSON object: %v", err)
		}
	}
	w, err := f.wished(getenv)
	if err != nil {
		return nil, nil, err
	}
	args, asked, err := w.Express(n)
	if untaken, ok := errors.AsType[*seam.UntakenError](err); ok {
		return nil, nil, hint(usage("%v", err), "%s", untaken.Hint())
	}
	if caps == nil {
		return args, asked, err
	}
	maps.Copy(caps, asked)
	return args, caps, err
}

// wished reads the flags, and CNI_ARGS before them.
func (f *containerFlags) wished(getenv func(string) string) (w seam.Wishes, err error) {
	w = seam.Wishes{IPs: f.ips, MAC: f.mac, Capabilities: make(map[string]json.RawMessage)}
	if w.Args, err = cni.ParseArgs(getenv("CNI_ARGS")); err != nil {
		return w, err
	}
	for _, s := range f.args {
		more, err := cni.ParseArgs(s)
		if err != nil || len(more) == 0 {
			return w, usage("--args %q: it is KEY=VALUE", s)
		}
		w.Args = append(w.Args, more...)
	}
	for _, s := range f.caps {
		name, value, ok := strings.Cut(s, "=")
		if !ok || name == "" || !json.Valid([]byte(value)) {
			return w, usage("--cap %q: it is NAME=JSON, such as aliases='[\"web\"]'", s)
		}
		w.Capabilities[name] = json.RawMessage(value)
	}
	for _, s := range f.ports {
		m, err := parsePort(s)
		if err != nil {
			return w, err
		}
		w.Ports = append(w.Ports, m)
	}
	if f.bandwidth != "" {
		w.Bandwidth, err = parseBandwidth(f.bandwidth)
	}
	return w, err
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
