// Package all lists the plugins that are built in: what programs link to have them
// all. It holds no plugin's code. What a plugin is called here is its "type" in
// configurations and the name under which it is installed.
//
// One plugin is not here: cnm speaks HTTP, which would make the start of every other a
// tenth slower. It is the daemon's program under that name.
package all

import (
	"context"
	"errors"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/bandwidth"
	"github.com/seamnet/seam/plugin/bridge"
	"github.com/seamnet/seam/plugin/dhcp"
	"github.com/seamnet/seam/plugin/dummy"
	"github.com/seamnet/seam/plugin/firewall"
	"github.com/seamnet/seam/plugin/hostdevice"
	"github.com/seamnet/seam/plugin/hostlocal"
	"github.com/seamnet/seam/plugin/ipvlan"
	"github.com/seamnet/seam/plugin/loopback"
	"github.com/seamnet/seam/plugin/macvlan"
	"github.com/seamnet/seam/plugin/masquerade"
	"github.com/seamnet/seam/plugin/portmap"
	"github.com/seamnet/seam/plugin/ptp"
	"github.com/seamnet/seam/plugin/sbr"
	"github.com/seamnet/seam/plugin/static"
	"github.com/seamnet/seam/plugin/tap"
	"github.com/seamnet/seam/plugin/tuning"
	"github.com/seamnet/seam/plugin/vlan"
	"github.com/seamnet/seam/plugin/vrf"
	"github.com/seamnet/seam/plugin/wrap"
)

// Registry returns the plugins, on that host.
func Registry(h *plugin.Host) cni.Registry {
	return cni.Registry{
		"bandwidth":   bandwidth.New(h),
		"bridge":      bridge.New(h),
		"dhcp":        dhcp.New(),
		"dummy":       dummy.New(h),
		"firewall":    firewall.New(h),
		"host-device": hostdevice.New(h),
		"host-local":  hostlocal.New(h.Dirs.Leases),
		"ipvlan":      ipvlan.New(h),
		"loopback":    loopback.New(),
		"macvlan":     macvlan.New(h),
		"masquerade":  masquerade.New(h),
		"portmap":     portmap.New(h),
		"ptp":         ptp.New(h),
		"sbr":         sbr.New(h),
		"static":      static.New(),
		"tap":         tap.New(h),
		"tuning":      tuning.New(h),
		"vlan":        vlan.New(h),
		"vrf":         vrf.New(h),
		"wrap":        wrap.New(),
	}
}

// Repair puts back what others removed from the host's firewall, whichever plugin
// needs it. Containers are not touched.
func Repair(ctx context.Context, h *plugin.Host) error {
	return errors.Join(h.Repair(), firewall.Repair(ctx, h))
}

// Configs returns, by type, what makes a pointer to a plugin's configuration that
// holds its defaults: what a file's keys are compared with.
func Configs() map[string]func() any {
	return map[string]func() any{
		"bandwidth":   func() any { return &bandwidth.Config{} },
		"bridge":      func() any { return &bridge.Config{Bridge: "cni0"} },
		"dhcp":        func() any { return &dhcp.Config{} },
		"dummy":       func() any { return &dummy.Config{} },
		"firewall":    func() any { return firewall.Default() },
		"host-device": func() any { return &hostdevice.Config{} },
		"host-local":  func() any { return &hostlocal.Config{} },
		"ipvlan":      func() any { return &ipvlan.Config{} },
		"loopback":    func() any { return &loopback.Config{} },
		"macvlan":     func() any { return &macvlan.Config{} },
		"masquerade":  func() any { return masquerade.Default() },
		"portmap":     func() any { return portmap.Default() },
		"ptp":         func() any { return &ptp.Config{} },
		"sbr":         func() any { return &sbr.Config{} },
		"static":      func() any { return &static.Config{} },
		"tap":         func() any { return &tap.Config{} },
		"tuning":      func() any { return tuning.Default() },
		"vlan":        func() any { return &vlan.Config{} },
		"vrf":         func() any { return &vrf.Config{} },
		"wrap":        func() any { return wrap.Default() },
	}
}

// Chained returns the types of the plugins that work on what another made, and so stand
// after it in a network.
func Chained() []string {
	return []string{"bandwidth", "firewall", "masquerade", "portmap", "sbr", "tuning", "vrf"}
}

// IPAM returns the types of the plugins that do nothing but give addresses, to the one
// whose "ipam" names them. (What wrap is in a network is what it wraps.)
func IPAM() []string { return []string{"dhcp", "host-local", "static"} }
