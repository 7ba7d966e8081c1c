package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Keys of Options, in an engine's words.
const (
	keyGeneric  = "com.docker.network.generic"
	keyIPv4     = "com.docker.network.enable_ipv4"
	keyIPv6     = "com.docker.network.enable_ipv6"
	keyInternal = "com.docker.network.internal"

	keyExposed = "com.docker.network.endpoint.exposedports"
	keyPorts   = "com.docker.network.portmap"
	keyDNS     = "com.docker.network.endpoint.dnsservers"
	keyMAC     = "com.docker.network.endpoint.macaddress"
	keyIfName  = "com.docker.network.endpoint.ifname"
	keyName    = "com.docker.network.endpoint.name"

	keyAddressType = "RequestAddressType"
	keyGateway     = "com.docker.network.gateway"
)

// options are of a request: what the engine says beside, each value in a form of its
// own. A value that is null is as good as missing.
type options map[string]json.RawMessage

// get decodes the value of key into v and reports whether there is one.
func (o options) get(key string, v any) (bool, error) {
	raw, ok := o[key]
	if !ok || isNull(raw) {
		return false, nil
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return false, fmt.Errorf("option %s: %w", key, err)
	}
	return true, nil
}

// flag is absent unless the option is there; it may be a string.
func (o options) flag(key string, absent bool) (bool, error) {
	text, ok := scalar(o[key])
	if !ok {
		return absent, nil
	}
	v, err := strconv.ParseBool(text)
	if err != nil {
		return false, fmt.Errorf("option %s: %w", key, err)
	}
	return v, nil
}

// mac is in base64, as Go writes a net.HardwareAddr.
func (o options) mac() (net.HardwareAddr, error) {
	var mac []byte
	if _, err := o.get(keyMAC, &mac); err != nil || len(mac) == 0 {
		return nil, err
	}
	if len(mac) != 6 {
		return nil, fmt.Errorf("option %s: has %d bytes", keyMAC, len(mac))
	}
	return mac, nil
}

func (o options) dns() (servers []netip.Addr, err error) {
	_, err = o.get(keyDNS, &servers)
	return slices.DeleteFunc(servers, func(a netip.Addr) bool { return !a.IsValid() }), err
}

// texts returns the scalars, as text, without those of the keys in but. It is nil if
// there are none.
func (o options) texts(but ...string) map[string]string {
	var texts map[string]string
	for key, raw := range o {
		if text, ok := scalar(raw); ok && !slices.Contains(but, key) {
			if texts == nil {
				texts = map[string]string{}
			}
			texts[key] = text
		}
	}
	return texts
}

// scalar returns a string, number or truth value as text.
func scalar(raw json.RawMessage) (string, bool) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || isNull(raw) || raw[0] == '{' || raw[0] == '[' {
		return "", false
	}
	if raw[0] != '"' {
		return string(raw), true
	}
	var text string
	err := json.Unmarshal(raw, &text)
	return text, err == nil
}

func isNull(raw json.RawMessage) bool { return bytes.Equal(bytes.TrimSpace(raw), []byte("null")) }

// maxID is the longest an identifier may be, in bytes.
const maxID = 128

// checkID refuses what cannot be a file's name: drivers keep networks and endpoints
// under these.
func checkID(field, id string) error {
	odd := func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_' || r == '-' || r == '.')
	}
	switch {
	case id == "":
		return fmt.Errorf("%s: is missing", field)
	case len(id) > maxID:
		return fmt.Errorf("%s: is longer than %d bytes", field, maxID)
	case id[0] == '.', strings.ContainsFunc(id, odd):
		return fmt.Errorf("%s: %q is no identifier", field, id)
	}
	return nil
}

// parsePrefix returns the zero Prefix for an empty text. Of an address, an engine means
// the address and the subnet's length.
func parsePrefix(field, text string) (netip.Prefix, error) {
	if text == "" {
		return netip.Prefix{}, nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%s: %w", field, err)
	}
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p, nil
}

// parseAddr returns the zero Addr for an empty text.
func parseAddr(field, text string) (netip.Addr, error) {
	if text == "" {
		return netip.Addr{}, nil
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%s: %w", field, err)
	}
	return a.Unmap(), nil
}

func parseMAC(field, text string) (net.HardwareAddr, error) {
	if text == "" {
		return nil, nil
	}
	mac, err := net.ParseMAC(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	return mac, nil
}

// textOf is empty for the zero value of an address or a prefix.
func textOf[T interface {
	IsValid() bool
	String() string
}](v T) string {
	if !v.IsValid() {
		return ""
	}
	return v.String()
}

// errTwo is of what the protocol has one field for a family.
var errTwo = errors.New("has two of one family")
