// Package vlan makes an interface that is one VLAN of the host's interface: the plugin
// "vlan".
//
// To see what it made: ip -d link, in the pod.
package vlan

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/nft"
	"github.com/seamnet/seam/plugin"
)

const (
	kind     = "vlan"
	lastVLAN = 4094
)

// Config is the plugin's configuration; the keys are those of the reference plugin.
type Config struct {
	plugin.Config
	plugin.Parent      // the master is required
	VLAN          *int `json:"vlanId"` // 0 to 4094; required
}

// New returns the plugin on that host.
func New(h *plugin.Host) cni.Plugin {
	return plugin.Interface(h, func() plugin.Device { return &Config{} })
}

// Validate reports what is wrong with the configuration.
func (v *Config) Validate() error {
	v.IPMasq = false // what the pod sends does not come by the host's firewall
	errs := []error{v.ValidateCommon(), v.ValidateParent()}
	if v.Master == "" {
		errs = append(errs, errors.New("master: is missing: name the interface whose VLAN it is to be"))
	}
	switch {
	case v.VLAN == nil:
		errs = append(errs, fmt.Errorf("vlanId: is missing: 0 to %d", lastVLAN))
	case *v.VLAN < 0 || *v.VLAN > lastVLAN:
		errs = append(errs, fmt.Errorf("vlanId %d: must be 0 to %d", *v.VLAN, lastVLAN))
	}
	if v.IPAM.Type == "" {
		errs = append(errs, errors.New("ipam: is missing"))
	}
	return errors.Join(errs...)
}

// Available says whether there are VLANs, and the master.
func (v *Config) Available(h *link.Handle) error { return v.Parent.Available(h, kind) }

// Make makes the interface.
func (v *Config) Make(ctx context.Context, c *plugin.Call) ([]cni.Interface, error) {
	master, err := v.Find(c)
	if err != nil {
		return nil, err
	}
	if !master.Up {
		return nil, fmt.Errorf("master %s: is down, and no VLAN of it can be up: ip link set %s up", master.Name, master.Name)
	}
	base, err := v.Base(c, master, v.MTU)
	if err != nil {
		return nil, err
	}
	err = c.Made(v.Door(c).AddVLANLink(link.VLANLink{Base: base, ID: uint16(*v.VLAN)}))
	if errors.Is(err, fs.ErrExist) && cni.CodeOf(err) != cni.CodeExists {
		return nil, fmt.Errorf("vlanId %d: another interface, of the host or of a pod, is this VLAN of %s: %w", *v.VLAN, master.Name, err)
	}
	if err != nil {
		return nil, err
	}
	return []cni.Interface{c.PodInterface()}, nil
}

// Connect lets the pod ask whether others in the VLAN have its addresses.
func (v *Config) Connect(ctx context.Context, c *plugin.Call) error {
	c.DAD = true
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
	id, err := c.Pod.VLANID(c.Link)
	if err == nil && int(id) != *v.VLAN {
		err = fmt.Errorf("pod %s: interface %s is VLAN %d, not %d", c.NetNS, c.IfName, id, *v.VLAN)
	}
	return nil, errors.Join(append(errs, v.CheckParent(c), err)...)
}
