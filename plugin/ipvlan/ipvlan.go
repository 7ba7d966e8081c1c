// Package ipvlan makes an interface that shares one of the host's, its MAC address
// included: the plugin "ipvlan".
//
// In a chain it may take over the addresses that plugins before it got. To see what it
// made: ip -d link, in the pod.
package ipvlan

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/nft"
	"github.com/seamnet/seam/plugin"
)

const kind = "ipvlan"

// Config is the plugin's configuration; the keys are those of the reference plugin.
type Config struct {
	plugin.Config
	plugin.Parent
	Mode link.IPvlanMode `json:"mode"` // default l2
}

// New returns the plugin on that host.
func New(h *plugin.Host) cni.Plugin {
	return plugin.Interface(h, func() plugin.Device { return &Config{} })
}

// Validate reports what is wrong with the configuration.
func (v *Config) Validate() error {
	v.Mode = cmp.Or(v.Mode, link.IPvlanL2)
	v.IPMasq = false // what the pod sends does not come by the host's firewall
	var modeErr error
	if !v.Mode.Valid() {
		modeErr = fmt.Errorf("mode %q: must be l2, l3 or l3s", v.Mode)
	}
	return errors.Join(v.ValidateCommon(), v.ValidateParent(), modeErr)
}

// First says what is wrong where no plugin is before this one.
func (v *Config) First() error {
	if v.IPAM.Type == "" {
		return errNoAddresses()
	}
	return nil
}

func errNoAddresses() error {
	return cni.Errorf(cni.CodeInvalidConfig, "ipam: is missing, and no plugin before got addresses to take over")
}

// Available says whether there are ipvlans, and the master. Without ipam it depends on
// the plugins before which master that is.
func (v *Config) Available(h *link.Handle) error {
	if v.Master == "" && v.IPAM.Type == "" {
		return plugin.Supported(h, kind)
	}
	return v.Parent.Available(h, kind)
}

// Make makes the interface.
func (v *Config) Make(ctx context.Context, c *plugin.Call) ([]cni.Interface, error) {
	if v.IPAM.Type == "" && (c.Prev == nil || len(c.Prev.IPs) == 0) {
		return nil, errNoAddresses()
	}
	parent, err := v.parent(c.Prev)
	if err != nil {
		return nil, err
	}
	master, err := parent.Find(c)
	if err != nil {
		return nil, err
	}
	base, err := parent.Base(c, master, v.MTU)
	if err != nil {
		return nil, err
	}
	err = parent.Door(c).AddIPvlan(link.IPvlan{Base: base, Mode: v.Mode})
	if err := c.Made(err); err != nil {
		return nil, err
	}
	return []cni.Interface{c.PodInterface()}, nil
}

// parent returns the keys with the master that is not named in a chain: the one
// interface that the plugins before reported.
func (v *Config) parent(prev *cni.Result) (plugin.Parent, error) {
	parent := v.Parent
	if parent.Master != "" || prev == nil {
		return parent, nil
	}
	if len(prev.Interfaces) != 1 || prev.Interfaces[0].Name == "" {
		return parent, cni.Errorf(cni.CodeInvalidConfig, "master: is not named, and prevResult does not name one interface but %d", len(prev.Interfaces)).
			WithDetails("name the interface to stand on")
	}
	parent.Master = prev.Interfaces[0].Name
	return parent, nil
}

// Connect gives the interface, without IPAM, what plugins before got; and lets the pod ask
// whether others on the master's network have its addresses.
func (v *Config) Connect(ctx context.Context, c *plugin.Call) error {
	c.DAD = true
	if v.IPAM.Type != "" {
		return nil
	}
	prev, first := c.Prev.Clone(), 0
	c.Result.IPs, c.Result.Routes, c.Result.DNS = prev.IPs, prev.Routes, prev.DNS
	for i := range c.Result.IPs {
		c.Result.IPs[i].Interface = &first
	}
	c.TakesOver = true
	return nil
}

// Finish has nothing to add.
func (v *Config) Finish(ctx context.Context, c *plugin.Call) ([]nft.Element, error) { return nil, nil }

// Check compares the interface with what Make made.
func (v *Config) Check(ctx context.Context, c *plugin.Call) ([]nft.Element, error) {
	errs := []error{c.CheckInterface(kind, v.MTU)}
	if c.Link.Kind != kind {
		return nil, errs[0]
	}
	mode, err := c.Pod.IPvlanMode(c.Link)
	if err == nil && mode != v.Mode {
		err = fmt.Errorf("pod %s: ipvlan %s has mode %s, not %s", c.NetNS, c.IfName, mode, v.Mode)
	}
	return nil, errors.Join(append(errs, v.CheckParent(c), err)...)
}
