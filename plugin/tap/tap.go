// Package tap makes a tap in the pod: the plugin "tap". Its frames are read and written
// by a program in the pod, most often one that runs a virtual machine, which attaches to
// it through /dev/net/tun.
//
// To see what it made: ip -d link show, in the pod.
package tap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/nft"
	"github.com/seamnet/seam/plugin"
)

// Config is the plugin's configuration.
type Config struct {
	plugin.Config
	MultiQueue     bool    `json:"multiQueue"`
	MAC            string  `json:"mac"`
	Owner          *uint32 `json:"owner"`          // user ID; nil: only who may administer the pod's network
	Group          *uint32 `json:"group"`          // group ID
	SELinuxContext string  `json:"selinuxContext"` // of who makes it, and so its label
	Bridge         string  `json:"bridge"`         // in the pod, to be a port of
}

// New returns the plugin on that host.
func New(h *plugin.Host) cni.Plugin {
	return plugin.Interface(h, func() plugin.Device { return &Config{} })
}

// Validate reports what is wrong with the configuration.
func (p *Config) Validate() error {
	p.IPMasq = false // of another plugin's: the host does not see the pod's packets
	_, macErr := p.Config.MAC(&cni.Request{}, p.MAC)
	errs := []error{p.ValidateCommon(), macErr}
	for key, id := range map[string]*uint32{"owner": p.Owner, "group": p.Group} {
		if id != nil && *id == 1<<32-1 {
			errs = append(errs, fmt.Errorf("%s %d: no user or group has this number", key, *id))
		}
	}
	if p.Bridge != "" {
		if err := cni.CheckIfName(p.Bridge); err != nil {
			errs = append(errs, cni.Errorf(cni.CodeInvalidConfig, "bridge: %s", err))
		}
	}
	return errors.Join(errs...)
}

// Available says whether taps can be made.
func (p *Config) Available(*link.Handle) error {
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		return fmt.Errorf("taps are made through /dev/net/tun: %w", err)
	}
	return nil
}

// Make makes the tap, and lets it join the bridge.
func (p *Config) Make(_ context.Context, c *plugin.Call) ([]cni.Interface, error) {
	// The reference plugin has no args.cni.mac; what is asked for is the same.
	mac, err := p.Config.MAC(c.Request, p.MAC)
	if err != nil {
		return nil, err
	}
	bridge, err := p.bridge(c)
	if err != nil {
		return nil, err
	}
	t := link.Tap{Name: c.IfName, MTU: p.MTU, MAC: mac, MultiQueue: p.MultiQueue, Owner: p.Owner, Group: p.Group}
	if p.SELinuxContext != "" {
		err = addLabelled(c, t, p.SELinuxContext)
	} else {
		err = c.Pod.AddTap(t)
	}
	if err := c.Made(err); err != nil {
		return nil, err
	}
	if p.Bridge != "" {
		if err := c.Pod.Set(c.Link, link.Change{Master: bridge.Index}); err != nil {
			return nil, err
		}
	}
	return []cni.Interface{c.PodInterface()}, nil
}

// bridge returns the bridge to join, if there is one, before anything is made.
func (p *Config) bridge(c *plugin.Call) (link.Link, error) {
	if p.Bridge == "" {
		return link.Link{}, nil
	}
	l, err := c.Pod.ByName(p.Bridge)
	if errors.Is(err, fs.ErrNotExist) {
		return l, fmt.Errorf("pod %s: there is no bridge %s for the tap to join: %w", c.NetNS, p.Bridge, err)
	}
	if err == nil && l.Kind != "bridge" {
		err = fmt.Errorf("pod %s: %s, which the tap is to join, is a %s, not a bridge", c.NetNS, l.Name, l.Kind)
	}
	return l, err
}

// Connect has nothing to do: a tap leads to no host.
func (p *Config) Connect(context.Context, *plugin.Call) error { return nil }

// Finish has nothing to do: the host's firewall does not see a tap.
func (p *Config) Finish(context.Context, *plugin.Call) ([]nft.Element, error) { return nil, nil }

// Check compares the tap with what Add made.
func (p *Config) Check(_ context.Context, c *plugin.Call) ([]nft.Element, error) {
	is, err := c.Pod.TapOf(c.Link)
	if err != nil {
		return nil, fmt.Errorf("pod %s: %w", c.NetNS, err)
	}
	errs := []error{c.CheckMTU(p.MTU)}
	wrong := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("pod %s: tap %s "+format, append([]any{c.NetNS, c.IfName}, args...)...))
	}
	if !c.Link.Up {
		wrong("is down")
	}
	if is.MultiQueue != p.MultiQueue {
		wrong("has several queues: %t, not %t", is.MultiQueue, p.MultiQueue)
	}
	if has, want := orRoot(is.Owner), orRoot(p.Owner); has != want {
		wrong("has owner %d, not %d", has, want)
	}
	if has, want := orRoot(is.Group), orRoot(p.Group); has != want {
		wrong("has group %d, not %d", has, want)
	}
	if p.Bridge != "" {
		bridge, err := c.Pod.ByName(p.Bridge)
		if err != nil {
			wrong("cannot be a port of its bridge: %w", err)
		} else if c.Link.Master != bridge.Index {
			wrong("is not a port of bridge %s", p.Bridge)
		}
	}
	mac, err := p.Config.MAC(c.Request, p.MAC)
	if err == nil && mac != nil && !bytes.Equal(mac, c.Link.MAC) && !told(c) {
		wrong("has MAC address %s, not %s", c.Link.MAC, mac)
	}
	return nil, errors.Join(errs...)
}

// told reports whether the result says what MAC address the tap has, which a later
// plugin may have changed: the frame compares that.
func told(c *plugin.Call) bool {
	for _, i := range c.Result.Interfaces {
		if i.Name == c.IfName && i.Sandbox != "" && i.MAC != nil {
			return true
		}
	}
	return false
}

// orRoot is what no owner and no group read as.
func orRoot(id *uint32) uint32 {
	if id == nil {
		return 0
	}
	return *id
}
