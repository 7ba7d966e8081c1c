package static

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
)

// Config is the part of a network's configuration that the plugin reads; the keys
// are those of the reference plugin.
type Config struct {
	IPAM struct {
		Addresses []Address   `json:"addresses"`
		Routes    []cni.Route `json:"routes"`
		DNS       cni.DNS     `json:"dns"`
	} `json:"ipam"`
	RuntimeConfig struct {
		IPs []string `json:"ips"` // in place of all others
	} `json:"runtimeConfig"`
	Args struct {
		CNI struct {
			IPs []string `json:"ips"` // in place of Addresses and CNI_ARGS
		} `json:"cni"`
	} `json:"args"`

	ips []cni.IP // of Addresses, by Validate
}

// An Address is what an interface is to have.
type Address struct {
	Address string `json:"address"` // ADDRESS/LENGTH
	Gateway string `json:"gateway"` // of the same family; empty: none
}

// Validate reports what is wrong with the keys of "ipam".
func (c *Config) Validate() error {
	c.ips = nil
	for i, a := range c.IPAM.Addresses {
		ip, err := a.parse()
		if err != nil {
			return fmt.Errorf("ipam.addresses[%d]: %w", i, err)
		}
		c.ips = append(c.ips, ip)
	}
	for _, r := range c.IPAM.Routes {
		if !r.Dst.IsValid() {
			return errors.New(`ipam.routes: a route has no "dst"`)
		}
	}
	return nil
}

// Doubt says which gateways are none of the address's neighbours, where it has any, and
// which destinations are wider than they look.
func (c *Config) Doubt() error {
	var errs []error
	for i, ip := range c.ips {
		alone := ip.Address.IsSingleIP() || ip.Gateway.IsLinkLocalUnicast()
		if ip.Gateway.IsValid() && !alone && !ip.Address.Masked().Contains(ip.Gateway) {
			errs = append(errs, fmt.Errorf("ipam.addresses[%d].gateway: %s is outside of %s", i, ip.Gateway, ip.Address.Masked()))
		}
	}
	for i, r := range c.IPAM.Routes {
		if r.Dst != r.Dst.Masked() {
			errs = append(errs, fmt.Errorf("ipam.routes[%d].dst: %s is taken as %s", i, r.Dst, r.Dst.Masked()))
		}
	}
	return errors.Join(errs...)
}

func (a Address) parse() (ip cni.IP, err error) {
	if ip.Address, err = parsePrefix(a.Address); err != nil || a.Gateway == "" {
		return ip, err
	}
	if ip.Gateway, err = netip.ParseAddr(a.Gateway); err != nil || ip.Gateway.Zone() != "" {
		return ip, fmt.Errorf("gateway %q is not an IP address", a.Gateway)
	}
	if ip.Gateway = ip.Gateway.Unmap(); ip.Gateway.Is4() != ip.Address.Addr().Is4() {
		return ip, fmt.Errorf("gateway %s is not of the family of address %s", ip.Gateway, ip.Address)
	}
	return ip, nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return p, fmt.Errorf("address %q is not of the form ADDRESS/LENGTH", s)
	case p.Addr().Is4In6():
		return p, fmt.Errorf("address %s is an IPv4 address in IPv6 form; write it as IPv4", p)
	}
	return p, nil
}

// load returns the configuration, and the addresses that it and what comes with the
// attachment amount to.
func load(r *cni.Request) (*Config, []cni.IP, error) {
	conf := new(Config)
	if err := r.Decode(conf); err != nil {
		return nil, nil, err
	}
	ips, err := conf.addresses(r.Args)
	if err == nil {
		err = checkVersion(ips, r.Config.Version)
	}
	return conf, ips, explain(r, err)
}

// addresses adds those of CNI_ARGS to the configuration's, args replace them, and
// runtimeConfig replaces those.
func (c *Config) addresses(args cni.Args) ([]cni.IP, error) {
	added, err := fromArgs(args)
	if err != nil {
		return nil, err
	}
	ips := slices.Concat(c.ips, added)
	for _, from := range []struct {
		key  string
		list []string
	}{
		{"args.cni.ips", c.Args.CNI.IPs},
		{"runtimeConfig.ips", c.RuntimeConfig.IPs},
	} {
		if len(from.list) == 0 {
			continue
		}
		ips = nil
		for i, s := range from.list {
			p, err := parsePrefix(s)
			if err != nil {
				return nil, fmt.Errorf("%s[%d]: %w", from.key, i, err)
			}
			ips = append(ips, cni.IP{Address: p})
		}
	}
	return ips, nil
}

// fromArgs returns the addresses of IP. Those of GATEWAY go to the ones of them that
// have it in their subnet, as in the reference plugin: not to the configuration's.
func fromArgs(args cni.Args) ([]cni.IP, error) {
	// Every plugin of a chain sees all of CNI_ARGS: other plugins' keys are known too.
	if err := args.Only("IP", "GATEWAY", "MAC"); err != nil {
		return nil, err
	}
	var ips []cni.IP
	for s := range listed(args.Get("IP")) {
		p, err := parsePrefix(s)
		if err != nil {
			return nil, cni.Errorf(cni.CodeInvalidEnvironment, "CNI_ARGS: IP: %w", err)
		}
		ips = append(ips, cni.IP{Address: p})
	}
	for s := range listed(args.Get("GATEWAY")) {
		gw, err := netip.ParseAddr(s)
		if err != nil || gw.Zone() != "" {
			return nil, cni.Errorf(cni.CodeInvalidEnvironment, "CNI_ARGS: GATEWAY: %q is not an IP address", s)
		}
		for i := range ips {
			if ips[i].Address.Masked().Contains(gw.Unmap()) {
				ips[i].Gateway = gw.Unmap()
			}
		}
	}
	return ips, nil
}

// listed yields the words between commas; of an empty string, none.
func listed(s string) iter.Seq[string] {
	return func(yield func(string) bool) {
		if s == "" {
			return
		}
		for word := range strings.SplitSeq(s, ",") {
			if !yield(strings.TrimSpace(word)) {
				return
			}
		}
	}
}

// checkVersion refuses what a result of that version cannot hold.
func checkVersion(ips []cni.IP, version string) error {
	several, err := wire.AtLeast(version, "0.3.0")
	if err != nil || several {
		return err
	}
	for i, ip := range ips {
		if slices.ContainsFunc(ips[:i], func(o cni.IP) bool { return o.Address.Addr().Is4() == ip.Address.Addr().Is4() }) {
			return cni.Errorf(cni.CodeInvalidConfig, "version %q of CNI allows one address of a family", version).
				WithDetails("set cniVersion to 0.3.0 or later, or give one address of a family")
		}
	}
	return nil
}

// explain says which network an error is of; without a code of its own it is one
// of the configuration's.
func explain(r *cni.Request, err error) error {
	switch {
	case err == nil:
		return nil
	case cni.CodeOf(err) == cni.CodeInternal:
		return cni.Errorf(cni.CodeInvalidConfig, "static: network %q: %w", r.Network, err)
	}
	return fmt.Errorf("static: network %q: %w", r.Network, err)
}
