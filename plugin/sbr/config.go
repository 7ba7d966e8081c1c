package sbr

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
)

// Config is the plugin's configuration.
type Config struct {
	// Table is asked for what comes from the pod's addresses; nothing else is done, as
	// its routes are IPAM's or others' affair. nil: each address gets a table of its own,
	// to which the interface's routes are moved.
	Table *int `json:"table"`

	// Gateways, one of a family at most, are what the tables' default routes lead to,
	// whatever the result says.
	Gateways []netip.Addr `json:"gateways"`

	// AddSourceHints keeps the routes to the interface's subnets in the main table, with
	// its address as preferred source, for who has chosen none yet.
	AddSourceHints bool `json:"addSourceHints"`
}

// Validate is called by Request.Decode.
func (c *Config) Validate() error {
	var errs []error
	if c.Table != nil && (*c.Table < 1 || *c.Table > math.MaxInt32) {
		errs = append(errs, fmt.Errorf("table %d: must be 1 to %d", *c.Table, math.MaxInt32))
	}
	if c.Table != nil && (len(c.Gateways) > 0 || c.AddSourceHints) {
		errs = append(errs, errors.New("table: with it no routes are made, and so neither gateways nor addSourceHints can be given"))
	}
	var v4, v6 int
	for _, g := range c.Gateways {
		switch {
		case !g.IsValid() || g.IsUnspecified() || g.Is4In6():
			errs = append(errs, fmt.Errorf("gateways: %q is no gateway's address", g))
		case g.Is4():
			v4++
		default:
			v6++
		}
	}
	if v4 > 1 || v6 > 1 {
		errs = append(errs, errors.New("gateways: one IPv4 and one IPv6 address at most"))
	}
	return errors.Join(errs...)
}

// gateway returns what an address's default route leads to, invalid if it has none.
func (c *Config) gateway(of netip.Addr, result netip.Addr) netip.Addr {
	for _, g := range c.Gateways {
		if g.Is4() == of.Is4() {
			return g
		}
	}
	return result
}
