package plugin

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
)

// Parent is the keys of interfaces that stand on another one, which is called their
// master: of macvlan, ipvlan and vlan.
type Parent struct {
	Master string `json:"master"`          // its name; empty: the one of the default route
	InPod  bool   `json:"linkInContainer"` // it is in the pod, not on the host
}

// ValidateParent reports what is wrong with the keys.
func (p Parent) ValidateParent() error {
	if p.Master == "" {
		return nil
	}
	if n := len(p.Master); n > 15 && n < 128 {
		return nil // an alternative name (ip-link(8), altname)
	}
	if err := cni.CheckIfName(p.Master); err != nil {
		return cni.Errorf(cni.CodeInvalidConfig, "master: %s", err)
	}
	return nil
}

// Door returns the handle of the namespace where the master is.
func (p Parent) Door(c *Call) *link.Handle {
	if p.InPod {
		return c.Pod
	}
	return c.Links
}

// Find returns the master.
func (p Parent) Find(c *Call) (link.Link, error) {
	where := "the host"
	if p.InPod {
		where = "pod " + c.NetNS
	}
	return p.find(p.Door(c), where)
}

func (p Parent) find(h *link.Handle, where string) (link.Link, error) {
	if p.Master == "" {
		master, err := h.DefaultRouteLink()
		if link.Missing(err) {
			err = cni.Errorf(cni.CodeInvalidConfig, "master: is not named, and %s has no default route: %w", where, err).
				WithDetails("name the interface to stand on")
		}
		return master, err
	}
	master, err := h.ByName(p.Master)
	if link.Missing(err) {
		err = cni.Errorf(cni.CodeInvalidConfig, "master %s: is not in %s: %w", p.Master, where, err)
	}
	return master, err
}

// Base returns what the pod's interface is made with on the master, with Door's handle.
// mtu is 0 (the master's own) or at most that.
func (p Parent) Base(c *Call, master link.Link, mtu int) (link.Base, error) {
	if mtu > master.MTU {
		return link.Base{}, cni.Errorf(cni.CodeInvalidConfig, "mtu %d: the master %s has %d, and what stands on it at most that", mtu, master.Name, master.MTU)
	}
	base := link.Base{Name: c.IfName, MTU: mtu, Parent: master.Index}
	if !p.InPod {
		base.NS = c.PodNS
	}
	return base, nil
}

// CheckParent reports whether the master is there and up, and the pod's interface stands
// on it. One that is not named is not asked for: the default route may have moved since.
func (p Parent) CheckParent(c *Call) error {
	if p.Master == "" {
		return nil
	}
	master, err := p.Find(c)
	if err != nil {
		return err
	}
	errs := []error{isUp(master)}
	bottom := master.Index
	if master.Kind == c.Link.Kind && master.Kind != "vlan" {
		bottom = master.Parent // the kernel puts macvlan on macvlan, and ipvlan on ipvlan, beside it
	}
	if c.Link.Parent != bottom {
		errs = append(errs, fmt.Errorf("pod %s: interface %s does not stand on %s", c.NetNS, c.IfName, master.Name))
	}
	return errors.Join(errs...)
}

// isUp reports, as an error, that nothing passes over the master. ADD of macvlan and ipvlan
// takes it all the same, like the reference plugins', as it may be set up later.
func isUp(master link.Link) error {
	if master.Up {
		return nil
	}
	return fmt.Errorf("master %s: is down: ip link set %s up", master.Name, master.Name)
}

// Available reports whether the kernel has interfaces of the kind and the host the master
// for them, up, which is not looked for in a pod that is yet to come.
func (p Parent) Available(h *link.Handle, kind string) error {
	if err := Supported(h, kind); err != nil || p.InPod {
		return err
	}
	master, err := p.find(h, "the host")
	if err != nil {
		return err
	}
	return isUp(master)
}

// Supported returns an error if the kernel has no interfaces of the kind.
func Supported(h *link.Handle, kind string) error {
	ok, err := h.Supports(kind)
	if err == nil && !ok {
		err = fmt.Errorf("this kernel has no %s interfaces", kind)
	}
	return err
}

// tunedMTU reports whether tuning, Seam's or the reference's, gave the interface another MTU
// later in the chain. Neither says so in the result; both keep the one before in this folder,
// unless they are told another.
func (c *Call) tunedMTU() bool {
	var before struct {
		MTU int `json:"mtu"`
	}
	data, err := os.ReadFile(filepath.Join("/run/cni/tuning", c.ContainerID+"_"+c.IfName+".json"))
	return err == nil && json.Unmarshal(data, &before) == nil && before.MTU != 0
}

// CheckInterface reports whether the pod's interface is of that kind, up, and has the MTU
// that was asked for (0: any), or the one that a later plugin reports.
func (c *Call) CheckInterface(kind string, mtu int) error {
	if c.Link.Kind != kind {
		return fmt.Errorf("pod %s: interface %s is a %s, not a %s", c.NetNS, c.IfName, c.Link.Kind, kind)
	}
	var errs []error
	if !c.Link.Up {
		errs = append(errs, fmt.Errorf("pod %s: interface %s is down", c.NetNS, c.IfName))
	}
	return errors.Join(append(errs, c.CheckMTU(mtu))...)
}

// CheckMTU reports whether the pod's interface has the MTU that was asked for (0: any), or the
// one that a later plugin gave it.
func (c *Call) CheckMTU(mtu int) error {
	for _, i := range c.Result.Interfaces {
		if i.Name == c.IfName && i.Sandbox != "" && i.MTU != 0 {
			mtu = i.MTU
		}
	}
	if mtu == 0 || c.Link.MTU == mtu || c.tunedMTU() {
		return nil
	}
	return fmt.Errorf("pod %s: interface %s has MTU %d, not %d", c.NetNS, c.IfName, c.Link.MTU, mtu)
}
