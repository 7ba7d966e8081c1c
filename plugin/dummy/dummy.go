// Package dummy makes an interface that leads nowhere, for the sake of its addresses: the
// plugin "dummy".
//
// To see what it made: ip -d link, in the pod.
package dummy

import (
	"context"
	"errors"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/nft"
	"github.com/seamnet/seam/plugin"
)

const kind = "dummy"

// Config is the plugin's configuration: the keys that all interface plugins share.
type Config struct{ plugin.Config }

// New returns the plugin on that host.
func New(h *plugin.Host) cni.Plugin {
	return plugin.Interface(h, func() plugin.Device { return &Config{} })
}

// Validate reports what is wrong with the configuration.
func (d *Config) Validate() error {
	d.IPMasq = false // nothing is sent
	err := d.ValidateCommon()
	if d.IPAM.Type == "" {
		err = errors.Join(err, errors.New("ipam: is missing, and addresses are all that a dummy is for"))
	}
	return err
}

// Available says whether there are dummies.
func (d *Config) Available(h *link.Handle) error { return plugin.Supported(h, kind) }

// Make makes the interface.
func (d *Config) Make(ctx context.Context, c *plugin.Call) ([]cni.Interface, error) {
	if err := c.Made(c.Pod.AddDummy(link.Base{Name: c.IfName, MTU: d.MTU})); err != nil {
		return nil, err
	}
	return []cni.Interface{c.PodInterface()}, nil
}

// Connect has nothing to connect: nobody else can have the addresses either.
func (d *Config) Connect(ctx context.Context, c *plugin.Call) error { return nil }

// Finish has nothing to add.
func (d *Config) Finish(ctx context.Context, c *plugin.Call) ([]nft.Element, error) { return nil, nil }

// Check compares the interface with what Make made.
func (d *Config) Check(ctx context.Context, c *plugin.Call) ([]nft.Element, error) {
	return nil, c.CheckInterface(kind, d.MTU)
}
