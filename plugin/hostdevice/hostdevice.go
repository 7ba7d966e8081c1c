// Package hostdevice lends a device of the host to a pod: the plugin "host-device". The
// device is moved, not copied: while the pod has it the host has not, and DEL or GC bring
// it back as it was.
//
// The device itself says to whom it is lent, by an alternative name that it keeps
// wherever it is and whatever it is called; its alias is its name on the host, as the
// reference plugin has it. What else it was like is in a file (type loan).
//
// To see what is lent: ls /run/seam/host-device. To find a device: ip link show, in the
// pod or on the host, and look for altname seam-….
package hostdevice

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/nft"
	"github.com/seamnet/seam/plugin"
)

// Config is the plugin's configuration. The first selector that is set counts, in the
// order of the fields.
type Config struct {
	plugin.Config
	Device     string `json:"device"`     // the device's name
	HWAddr     string `json:"hwaddr"`     // its MAC address
	KernelPath string `json:"kernelpath"` // its folder below /sys/devices, which has one called net
	PCIBusID   string `json:"pciBusID"`   // 0000:00:1f.6

	RuntimeConfig struct {
		// DeviceID takes the place of pciBusID, or names a device of the auxiliary bus.
		DeviceID string `json:"deviceID"`
	} `json:"runtimeConfig"`

	sys sysfs
}

// New returns the plugin on that host.
func New(h *plugin.Host) cni.Plugin { return NewAt(h, "/sys") }

// NewAt is New for a host whose sysfs is mounted elsewhere.
func NewAt(h *plugin.Host, sys string) cni.Plugin {
	return plugin.Interface(h, func() plugin.Device { return &Config{sys: sysfs(sys)} })
}

// Validate reports what is wrong with the configuration.
func (p *Config) Validate() error {
	// Of another plugin's in the same network, say: the device keeps its MTU, and the host
	// does not see the pod's packets.
	p.MTU, p.IPMasq = 0, false
	errs := []error{p.ValidateCommon()}
	if p.HWAddr != "" {
		if mac, err := net.ParseMAC(p.HWAddr); err != nil {
			errs = append(errs, fmt.Errorf("hwaddr %q: is no MAC address", p.HWAddr))
		} else if strings.Trim(mac.String(), "0:") == "" {
			errs = append(errs, fmt.Errorf("hwaddr %q: no device can be told by it", p.HWAddr))
		}
	}
	if p.KernelPath != "" && !strings.HasPrefix(filepath.Clean(p.KernelPath), "/sys/devices/") {
		errs = append(errs, fmt.Errorf("kernelpath %q: must be below /sys/devices/", p.KernelPath))
	}
	for key, id := range map[string]string{"pciBusID": p.PCIBusID, "runtimeConfig.deviceID": p.RuntimeConfig.DeviceID} {
		if id != "" && id != filepath.Base(id) || id == ".." {
			errs = append(errs, fmt.Errorf("%s %q: is no address on a bus", key, id))
		}
	}
	return errors.Join(errs...)
}

// UserSpace reports whether a program drives the device, by DPDK say, so that the kernel
// has no link for it.
func (p *Config) UserSpace() bool {
	id := p.PCIBusID
	if given := p.RuntimeConfig.DeviceID; given != "" {
		id = given // on the auxiliary bus it is no PCI device, and so no such program's
	}
	return id != "" && p.sys.userSpaceDriver(p.sys.pci(id))
}

// Make moves the device into the pod, under the name that its interface is to have.
func (p *Config) Make(ctx context.Context, c *plugin.Call) ([]cni.Interface, error) {
	if p.UserSpace() {
		return []cni.Interface{{Name: c.IfName, Sandbox: c.NetNS}}, nil
	}
	book := bookOf(c.Host())
	unlock, err := book.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := p.lend(ctx, c, book); err != nil {
		return nil, err
	}
	if c.Link, err = c.Pod.ByName(c.IfName); err != nil {
		return nil, err
	}
	return []cni.Interface{c.PodInterface()}, nil
}

// Connect lets the pod ask for its IPv6 addresses: others are on the device's wire.
func (p *Config) Connect(_ context.Context, c *plugin.Call) error {
	c.DAD = true
	return nil
}

// Finish has nothing to do: the firewall of the host does not see the device.
func (p *Config) Finish(context.Context, *plugin.Call) ([]nft.Element, error) { return nil, nil }

// Check looks whether the pod's interface is the device that was lent, and up.
func (p *Config) Check(_ context.Context, c *plugin.Call) ([]nft.Element, error) {
	var errs []error
	if !c.Link.Up {
		errs = append(errs, fmt.Errorf("pod %s: interface %s is down", c.NetNS, c.IfName))
	}
	if c.Link.Alias == "" {
		errs = append(errs, fmt.Errorf("pod %s: interface %s has no alias: a device that is lent has its host's name there", c.NetNS, c.IfName))
	}
	l, err := bookOf(c.Host()).read(plugin.Mark(c.Tag()))
	if err != nil || l == nil { // nil: lent by the reference plugin
		return nil, errors.Join(append(errs, err)...)
	}
	names, err := c.Pod.AltNames(c.Link)
	if err != nil {
		return nil, errors.Join(append(errs, err)...)
	}
	if !slices.Contains(names, l.mark()) {
		errs = append(errs, fmt.Errorf("pod %s: interface %s is not the device %s that was lent, or has lost its name %s", c.NetNS, c.IfName, l.Name, l.mark()))
	}
	return nil, errors.Join(errs...)
}
