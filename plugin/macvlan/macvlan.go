// Package macvlan makes an interface that shares one of the host's, with a MAC address
// of its own: the plugin "macvlan".
//
// The host's firewall does not see what passes. To see what it made: ip -d link, in the
// pod; the name after "@", or the number with link-netnsid, is the master.
package macvlan

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

const kind = "macvlan"

// Config is the plugin's configuration; the keys are those of the reference plugin.
type Config struct {
	plugin.Config
	plugin.Parent
	Mode           link.MacvlanMode `json:"mode"` // default bridge
	OwnMAC         string           `json:"mac"`
	BroadcastQueue uint32           `json:"bcqueuelen"` // packets; 0: the kernel's default
}

// New returns the plugin on that host.
func New(h *plugin.Host) cni.Plugin {
	return plugin.Interface(h, func() plugin.Device { return &Config{} })
}

// Validate reports what is wrong with the configuration.
func (m *Config) Validate() error {
	m.Mode = cmp.Or(m.Mode, link.MacvlanBridge)
	m.IPMasq = false // what the pod sends does not come by the host's firewall
	var modeErr error
	if !m.Mode.Valid() {
		modeErr = fmt.Errorf("mode %q: must be bridge, private, vepa or passthru", m.Mode)
	}
	_, macErr := m.MAC(&cni.Request{}, m.OwnMAC)
	return errors.Join(m.ValidateCommon(), m.ValidateParent(), modeErr, macErr)
}

// Available says whether there are macvlans, and the master.
func (m *Config) Available(h *link.Handle) error { return m.Parent.Available(h, kind) }

// Make makes the interface.
func (m *Config) Make(ctx context.Context, c *plugin.Call) ([]cni.Interface, error) {
	mac, err := m.MAC(c.Request, m.OwnMAC)
	if err != nil {
		return nil, err
	}
	master, err := m.Find(c)
	if err != nil {
		return nil, err
	}
	base, err := m.Base(c, master, m.MTU)
	if err != nil {
		return nil, err
	}
	base.MAC = mac
	err = m.Door(c).AddMacvlan(link.Macvlan{Base: base, Mode: m.Mode, BroadcastQueue: m.BroadcastQueue})
	if err := c.Made(err); err != nil {
		return nil, err
	}
	return []cni.Interface{c.PodInterface()}, nil
}

// Connect lets the pod ask whether others on the master's network have its addresses.
func (m *Config) Connect(ctx context.Context, c *plugin.Call) error {
	c.DAD = true
	return nil
}

// Finish has nothing to add.
func (m *Config) Finish(ctx context.Context, c *plugin.Call) ([]nft.Element, error) { return nil, nil }

// Check compares the interface with what Make made.
func (m *Config) Check(ctx context.Context, c *plugin.Call) ([]nft.Element, error) {
	errs := []error{c.CheckInterface(kind, m.MTU)}
	if c.Link.Kind != kind {
		return nil, errs[0]
	}
	errs = append(errs, m.CheckParent(c))
	has, err := c.Pod.Macvlan(c.Link)
	if err != nil {
		return nil, errors.Join(append(errs, err)...)
	}
	if has.Mode != m.Mode {
		errs = append(errs, fmt.Errorf("pod %s: macvlan %s has mode %s, not %s", c.NetNS, c.IfName, has.Mode, m.Mode))
	}
	if m.BroadcastQueue != 0 && has.BroadcastQueue != m.BroadcastQueue {
		errs = append(errs, fmt.Errorf("pod %s: macvlan %s has bcqueuelen %d, not %d", c.NetNS, c.IfName, has.BroadcastQueue, m.BroadcastQueue))
	}
	return nil, errors.Join(errs...)
}
