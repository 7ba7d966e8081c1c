package cnm

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/plugin"
)

// Config is the plugin's configuration. What a person gives docker network create is in
// keys of these names.
type Config struct {
	plugin.Config
	Driver     string            `json:"driver"`     // Docker's name of the network driver
	Options    map[string]string `json:"options"`    // each -o KEY=VALUE
	DriverOpts map[string]string `json:"driverOpts"` // each --driver-opt KEY=VALUE, of every endpoint
	Internal   bool              `json:"internal"`   // no way out
	PluginDirs []string          `json:"pluginDirs"` // where drivers are found; default: where engines look

	IPAMDriver  string            `json:"ipamDriver"`  // Docker's name of the IPAM driver; empty: none
	IPAMOptions map[string]string `json:"ipamOptions"` // each --ipam-opt KEY=VALUE

	// Of each list, at most one for a family. The key in the singular adds one.
	Subnet       netip.Prefix          `json:"subnet"`
	Subnets      []netip.Prefix        `json:"subnets"`
	Gateway      netip.Addr            `json:"gateway"`
	Gateways     []netip.Addr          `json:"gateways"`
	IPRange      netip.Prefix          `json:"ipRange"` // where in its subnet addresses are taken from
	IPRanges     []netip.Prefix        `json:"ipRanges"`
	AuxAddresses map[string]netip.Addr `json:"auxAddresses"` // not for containers
	IPv6         bool                  `json:"ipv6"`         // IPv6 too, also where no subnet of it is named

	RuntimeConfig struct {
		MAC          string            `json:"mac"`
		IPs          []string          `json:"ips"`
		PortMappings []cni.PortMapping `json:"portMappings"`
		DNS          struct {
			Servers []string `json:"servers"`
		} `json:"dns"`
	} `json:"runtimeConfig"`
	Args struct {
		CNI struct {
			MAC        string            `json:"mac"`
			IPs        []string          `json:"ips"`
			DriverOpts map[string]string `json:"driverOpts"`
		} `json:"cni"`
	} `json:"args"`

	adding *attaching // by Connect, for Finish
}

// Validate reports what is wrong with the configuration.
func (c *Config) Validate() error {
	c.Config.RuntimeConfig.MAC, c.Config.Args.CNI.MAC = c.RuntimeConfig.MAC, c.Args.CNI.MAC
	errs := []error{c.ValidateCommon(), checkDriver("driver", c.Driver)}
	if c.Driver == "" {
		errs[1] = errors.New("driver: is missing: name a Docker network driver")
	}
	if c.IPAMDriver != "" {
		errs = append(errs, checkDriver("ipamDriver", c.IPAMDriver))
		if c.IPAM.Type != "" {
			errs = append(errs, errors.New("ipam and ipamDriver exclude one another: choose who gives the addresses"))
		}
	} else if len(c.IPAMOptions) > 0 || len(c.ranges()) > 0 || len(c.AuxAddresses) > 0 {
		errs = append(errs, errors.New("ipamOptions, ipRange and auxAddresses are for an ipamDriver, and none is named"))
	}
	if c.IPv6 && c.IPAM.Type != "" {
		errs = append(errs, errors.New("ipv6: with ipam, the families are those of the addresses that it gives"))
	}
	if c.IPAMDriver == "" && c.IPAM.Type == "" && len(c.subnets()) > 0 {
		errs = append(errs, errors.New("subnet: goes with ipamDriver or ipam; without these the driver itself gives the addresses"))
	}
	for _, dir := range c.PluginDirs {
		if !filepath.IsAbs(dir) {
			errs = append(errs, fmt.Errorf("pluginDirs: %q is no absolute path", dir))
		}
	}
	_, err := c.ports()
	return errors.Join(append(errs, c.validateSubnets(), err)...)
}

// Doubt says what is hardly meant.
func (c *Config) Doubt() error {
	var errs []error
	for _, p := range slices.Concat(c.subnets(), c.ranges()) {
		if p != p.Masked() {
			errs = append(errs, fmt.Errorf("subnet or ipRange: %s is taken as %s", p, p.Masked()))
		}
	}
	if c.Internal && len(c.RuntimeConfig.PortMappings) > 0 {
		errs = append(errs, errors.New("internal: no port is published on a network without a way out"))
	}
	return errors.Join(errs...)
}

func checkDriver(key, name string) error {
	if name == "" || strings.HasPrefix(name, ".") || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("%s %q: is no name of a driver", key, name)
	}
	return nil
}

func (c *Config) validateSubnets() error {
	errs := []error{onePerFamily("subnet", c.subnets()), onePerFamily("ipRange", c.ranges())}
	for _, r := range c.ranges() {
		if s := of(r.Addr(), c.subnets()); !s.Contains(r.Addr()) || r.Bits() < s.Bits() {
			errs = append(errs, fmt.Errorf("ipRange %s: is in none of the subnets", r))
		}
	}
	for key, list := range map[string][]netip.Addr{"gateway": c.gateways(), "auxAddresses": slices.Collect(maps.Values(c.AuxAddresses))} {
		for _, a := range list {
			if !of(a, c.subnets()).Contains(a) {
				errs = append(errs, fmt.Errorf("%s %s: is in none of the subnets", key, a))
			}
		}
	}
	if g := c.gateways(); len(g) > 1 && (len(g) > 2 || g[0].Is4() == g[1].Is4()) {
		errs = append(errs, errors.New("gateways: more than one of a family"))
	}
	return errors.Join(errs...)
}

func onePerFamily(key string, list []netip.Prefix) error {
	if n := len(list); n > 2 || n == 2 && list[0].Addr().Is4() == list[1].Addr().Is4() {
		return fmt.Errorf("%s: more than one of a family: an endpoint has one address of each", key)
	}
	return nil
}

func (c *Config) subnets() []netip.Prefix { return together(c.Subnet, c.Subnets) }
func (c *Config) ranges() []netip.Prefix  { return together(c.IPRange, c.IPRanges) }
func (c *Config) gateways() []netip.Addr  { return together(c.Gateway, c.Gateways) }

func together[T interface{ IsValid() bool }](one T, list []T) []T {
	if one.IsValid() {
		return append([]T{one}, list...)
	}
	return list
}

// of returns the one of the address's family, invalid if there is none.
func of(a netip.Addr, list []netip.Prefix) netip.Prefix {
	for _, p := range list {
		if p.Addr().Is4() == a.Is4() {
			return p
		}
	}
	return netip.Prefix{}
}

// wish returns the network as the configuration wants it.
func (c *Config) wish(r *cni.Request) *wish {
	return &wish{
		Name: r.Network, Driver: c.Driver, Options: c.Options, Internal: c.Internal,
		IPAM: c.IPAMDriver, IPAMOptions: c.IPAMOptions,
		Subnets: c.subnets(), Gateways: c.gateways(), Ranges: c.ranges(), Aux: c.AuxAddresses, IPv6: c.IPv6,
	}
}

// asked returns the addresses that the attachment is to have: by runtimeConfig, args or
// CNI_ARGS, the first that names any.
func (c *Config) asked(r *cni.Request) ([]netip.Prefix, error) {
	lists := [][]string{c.RuntimeConfig.IPs, c.Args.CNI.IPs, nil}
	if ip := r.Args.Get("IP"); ip != "" {
		lists[2] = strings.Split(ip, ",")
	}
	for _, list := range lists {
		var asked []netip.Prefix
		for _, text := range list {
			addr, bits, err := cni.ParseAddr(strings.TrimSpace(text))
			if err != nil || addr.Zone() != "" {
				return nil, cni.Errorf(cni.CodeInvalidConfig, "cnm: address %q: is no address", text)
			}
			asked = append(asked, netip.PrefixFrom(addr.Unmap(), bits))
		}
		if err := onePerFamily("ips", asked); err != nil {
			return nil, cni.Errorf(cni.CodeInvalidConfig, "cnm: %w", err)
		}
		if len(asked) > 0 {
			return asked, nil
		}
	}
	return nil, nil
}

// ports returns the mappings in Docker's words.
func (c *Config) ports() (bindings []cnm.PortBinding, err error) {
	for i, m := range c.RuntimeConfig.PortMappings {
		b, err := binding(m)
		if err != nil {
			return nil, fmt.Errorf("portMappings[%d]: %w", i, err)
		}
		bindings = append(bindings, b)
	}
	return bindings, nil
}

func binding(m cni.PortMapping) (b cnm.PortBinding, err error) {
	b.Port = cnm.Port{Protocol: strings.ToLower(m.Protocol), Number: uint16(m.ContainerPort)}
	b.HostPort = uint16(m.HostPort)
	if b.Protocol == "" {
		b.Protocol = "tcp"
	}
	switch {
	case m.ContainerPort < 1 || m.ContainerPort > 65535:
		return b, fmt.Errorf("containerPort %d: must be 1 to 65535", m.ContainerPort)
	case m.HostPort < 0 || m.HostPort > 65535:
		return b, fmt.Errorf("hostPort %d: must be 1 to 65535, or 0: the driver chooses", m.HostPort)
	case !slices.Contains([]string{"tcp", "udp", "sctp"}, b.Protocol):
		return b, fmt.Errorf("protocol %q: must be tcp, udp or sctp", m.Protocol)
	case m.HostIP == "":
		return b, nil
	}
	if b.HostIP, err = netip.ParseAddr(m.HostIP); err != nil || b.HostIP.Zone() != "" {
		return b, fmt.Errorf("hostIP %q: is no address", m.HostIP)
	}
	b.HostIP = b.HostIP.Unmap()
	return b, nil
}

func exposed(bindings []cnm.PortBinding) (ports []cnm.Port) {
	for _, b := range bindings {
		if !slices.Contains(ports, b.Port) {
			ports = append(ports, b.Port)
		}
	}
	return ports
}

// servers returns the name servers that are addresses: of the runtime, else of the key dns.
func (c *Config) servers() (list []netip.Addr) {
	names := c.RuntimeConfig.DNS.Servers
	if len(names) == 0 {
		names = c.DNS.Nameservers
	}
	for _, name := range names {
		if a, err := netip.ParseAddr(name); err == nil {
			list = append(list, a)
		}
	}
	return list
}

func (c *Config) driverOpts() map[string]string {
	all := maps.Clone(c.DriverOpts)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, c.Args.CNI.DriverOpts)
	return all
}

// hardware returns the MAC address that is asked for, nil if none is.
func (c *Config) hardware(r *cni.Request) (net.HardwareAddr, error) { return c.MAC(r, "") }
