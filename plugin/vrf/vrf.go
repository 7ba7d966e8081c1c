// Package vrf lets the pod's interface be a member of a VRF, a routing table of its own:
// the chained plugin "vrf". Several interfaces of a pod may share one, and two may then
// have the same addresses without meeting.
//
// To see what it made, in the pod: ip -d link show type vrf, ip route show vrf NAME.
package vrf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/plugin"
	"golang.org/x/sys/unix"
)

// Config is the plugin's configuration.
type Config struct {
	VRFName string `json:"vrfname"`
	Table   uint32 `json:"table"` // 0: the first that no other VRF of the pod has, or the one that it has
}

// New returns the plugin on that host.
func New(h *plugin.Host) cni.Plugin {
	return plugin.Altering(h, func() plugin.Alteration { return &Config{} })
}

// Validate reports what is wrong with the configuration.
func (p *Config) Validate() error {
	if p.VRFName == "" {
		return errors.New("vrfname: is missing")
	}
	if err := cni.CheckIfName(p.VRFName); err != nil {
		return cni.Errorf(cni.CodeInvalidConfig, "vrfname: %s", err)
	}
	return nil
}

// Available says, as the answer to STATUS, that the kernel has no VRFs.
func (p *Config) Available(h *link.Handle) error { return plugin.Supported(h, "vrf") }

// detectionTime bounds the wait for the IPv6 addresses, whose uniqueness the kernel may
// ask for again.
const detectionTime = 5 * time.Second

// Apply makes the VRF if it is not there, and the interface its member.
func (p *Config) Apply(ctx context.Context, c *plugin.Call) error {
	vrf, table, err := p.find(c)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	there := err == nil
	switch {
	case there && p.Table != 0 && table != p.Table:
		return cni.Errorf(cni.CodeInvalidConfig, "pod %s: vrf %s has table %d already, not %d", c.NetNS, p.VRFName, table, p.Table)
	case there && c.Link.Master == vrf.Index:
		return cni.Errorf(cni.CodeExists, "pod %s: interface %s is in vrf %s already", c.NetNS, c.IfName, p.VRFName)
	case c.Link.Master != 0:
		return p.anotherMaster(c)
	case !there:
		if vrf, table, err = p.add(c); err != nil {
			return err
		}
	}
	if !vrf.Up { // new, or of an ADD that was killed
		if err := c.Pod.Set(vrf, link.Change{Up: true}); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, detectionTime)
	defer cancel()
	return c.Pod.Enslave(ctx, c.Link, vrf, table)
}

func (p *Config) anotherMaster(c *plugin.Call) error {
	master, err := c.Pod.ByIndex(c.Link.Master)
	if err != nil {
		return err
	}
	return cni.Errorf(cni.CodeInvalidConfig, "pod %s: interface %s belongs to the %s %s and cannot be in vrf %s, too", c.NetNS, c.IfName, master.Kind, master.Name, p.VRFName)
}

// find returns the pod's VRF of that name, and its table.
func (p *Config) find(c *plugin.Call) (link.Link, uint32, error) {
	vrf, err := c.Pod.ByName(p.VRFName)
	if err != nil {
		return vrf, 0, fmt.Errorf("pod %s: vrf %w", c.NetNS, err)
	}
	table, err := c.Pod.VRFTable(vrf)
	if err != nil {
		err = fmt.Errorf("pod %s: %w", c.NetNS, err)
	}
	return vrf, table, err
}

// add makes the VRF. Its alias says that Revert may delete it.
func (p *Config) add(c *plugin.Call) (link.Link, uint32, error) {
	table := p.Table
	if table == 0 {
		taken, err := c.Pod.VRFTables()
		if err != nil {
			return link.Link{}, 0, err
		}
		if table, err = firstFree(taken); err != nil {
			return link.Link{}, 0, err
		}
	}
	if err := c.Pod.AddVRF(link.VRF{Base: link.Base{Name: p.VRFName}, Table: table}); err != nil {
		return link.Link{}, 0, err
	}
	vrf, err := c.Pod.ByName(p.VRFName)
	if err != nil {
		return vrf, 0, err
	}
	return vrf, table, c.Pod.Set(vrf, link.Change{Alias: plugin.Alias(c.Tag())})
}

// firstFree returns the first table that is not taken. The kernel's own, with which
// other interfaces route, are no VRF's.
func firstFree(taken []uint32) (uint32, error) {
	for table := uint32(1); table != 0; table++ {
		if (table < unix.RT_TABLE_COMPAT || table > unix.RT_TABLE_LOCAL) && !slices.Contains(taken, table) {
			return table, nil
		}
	}
	return 0, errors.New("no routing table is free")
}

// Check looks for the VRF, and for the interface in it.
func (p *Config) Check(_ context.Context, c *plugin.Call) error {
	vrf, table, err := p.find(c)
	if err != nil {
		return err
	}
	var errs []error
	if p.Table != 0 && table != p.Table {
		errs = append(errs, fmt.Errorf("pod %s: vrf %s has table %d, not %d", c.NetNS, p.VRFName, table, p.Table))
	}
	if !vrf.Up {
		errs = append(errs, fmt.Errorf("pod %s: vrf %s is down", c.NetNS, p.VRFName))
	}
	if c.Link.Master != vrf.Index {
		return errors.Join(append(errs, fmt.Errorf("pod %s: interface %s is not in vrf %s", c.NetNS, c.IfName, p.VRFName))...)
	}
	return errors.Join(append(errs, checkRoutes(c, table))...)
}

// checkRoutes looks for the result's routes over the interface in the VRF's table, unless
// they name a table of their own. The interface's plugin finds those that are nowhere.
func checkRoutes(c *plugin.Call, table uint32) error {
	routes, err := c.Pod.Routes(c.Link)
	if err != nil {
		return err
	}
	var errs []error
	for _, want := range c.Result.Routes {
		there := func(r link.Route) bool { return r.Dst == want.Dst.Masked() }
		right := func(r link.Route) bool { return there(r) && *r.Table == int(table) }
		if want.Table == nil && slices.ContainsFunc(routes, there) && !slices.ContainsFunc(routes, right) {
			errs = append(errs, fmt.Errorf("pod %s: route %s is not in table %d", c.NetNS, link.Route{Route: want}, table))
		}
	}
	return errors.Join(errs...)
}

// Revert takes the interface out of the VRF, and deletes the VRF if that was its last
// member. One that was made by another hand and that the interface was never in stays.
func (p *Config) Revert(_ context.Context, c *plugin.Call) error {
	if c.Pod == nil || p.VRFName == "" {
		return nil
	}
	vrf, err := c.Pod.ByName(p.VRFName)
	if errors.Is(err, fs.ErrNotExist) || err == nil && vrf.Kind != "vrf" {
		return nil
	}
	if err != nil {
		return err
	}
	made := strings.HasPrefix(vrf.Alias, plugin.Alias(""))
	if c.Link.Index != 0 && c.Link.Master == vrf.Index {
		if err := c.Pod.SetFree(c.Link); err != nil {
			return err
		}
		made = true
	}
	if !made {
		return nil
	}
	members, err := c.Pod.List() // the pod's links are few
	if err != nil {
		return err
	}
	if slices.ContainsFunc(members, func(l link.Link) bool { return l.Master == vrf.Index }) {
		return nil
	}
	if err := c.Pod.Delete(vrf.Name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Retain has nothing to do: all is in the pods, and ends with them.
func (p *Config) Retain(context.Context, *plugin.Host, *cni.Request, []cni.Tag) error { return nil }

// Since is the oldest version that the plugin serves, as the reference has it.
func (c *Config) Since() string { return "0.3.1" }
