package hostdevice

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
)

// A selector is how a device was asked for: by one of the three.
type selector struct {
	words string // as a person would say it
	name  string
	mac   net.HardwareAddr
	path  string // its folder in sysfs
}

// selector returns the one that counts.
func (p *Config) selector() (selector, error) {
	switch {
	case p.Device != "":
		return selector{words: "device " + p.Device, name: p.Device}, nil
	case p.HWAddr != "":
		mac, err := net.ParseMAC(p.HWAddr)
		return selector{words: "device with hwaddr " + p.HWAddr, mac: mac}, err
	case p.KernelPath != "":
		return selector{words: "device at kernelpath " + p.KernelPath, path: p.sys.at(p.KernelPath)}, nil
	case p.RuntimeConfig.DeviceID != "":
		id := p.RuntimeConfig.DeviceID
		for _, path := range []string{p.sys.pci(id), p.sys.auxiliary(id)} {
			if p.sys.has(path) {
				return selector{words: "device " + id, path: path}, nil
			}
		}
		return selector{}, cni.Errorf(cni.CodeInvalidConfig, "runtimeConfig.deviceID %q: is neither a PCI device nor one of the auxiliary bus here", id)
	case p.PCIBusID != "":
		return selector{words: "device with pciBusID " + p.PCIBusID, path: p.sys.pci(p.PCIBusID)}, nil
	}
	// Known no earlier: STATUS, and a person who validates the file, have no runtimeConfig.
	return selector{}, errNoDevice()
}

// With says that no device can be selected, whatever the runtime gives.
func (p *Config) With(capabilities map[string]bool) error {
	if capabilities["deviceID"] || p.Device+p.HWAddr+p.KernelPath+p.RuntimeConfig.DeviceID+p.PCIBusID != "" {
		return nil
	}
	return errNoDevice()
}

func errNoDevice() error {
	return cni.Errorf(cni.CodeInvalidConfig, "no device is selected: set device, hwaddr, kernelpath or pciBusID, or give the runtime config deviceID").
		WithDetails(`the runtime gives it to a plugin with "capabilities": {"deviceID": true}`)
}

// find returns the device among the host's links. That it is not there matches
// fs.ErrNotExist.
func (s selector) find(links *link.Handle, sys sysfs) (link.Link, error) {
	l, err := link.Link{}, error(nil)
	switch {
	case s.name != "":
		l, err = links.ByName(s.name)
	case s.mac != nil:
		l, err = byMAC(links, s.mac)
	default:
		var name string
		if name, err = sys.linkOf(s.path); err == nil {
			l, err = links.ByName(name)
		}
	}
	if err != nil {
		return l, fmt.Errorf("%s: %w", s.words, err)
	}
	return l, nil
}

// byMAC goes through all links, as the kernel knows no other way. A bridge, a VLAN or a
// bond may have the MAC address of the device below it, which is the one that is meant.
func byMAC(links *link.Handle, mac net.HardwareAddr) (found link.Link, err error) {
	all, err := links.List()
	if err != nil {
		return found, err
	}
	err = link.NotThere("no link has it")
	for _, l := range all {
		if bytes.Equal(l.MAC, mac) && (err != nil || !link.Physical(found) && link.Physical(l)) {
			found, err = l, nil
		}
	}
	return found, err
}

// picks reports whether what was lent is what is asked for.
func (s selector) picks(l *loan, sys sysfs) bool {
	switch {
	case s.name != "":
		return l.Name == s.name
	case s.mac != nil:
		return l.MAC == s.mac.String()
	}
	path := sys.real(s.path)
	return path != "" && (l.Device == path || strings.HasPrefix(l.Device, path+"/"))
}

// explain says of a device that is not on the host who has it.
func (s selector) explain(err error, b *book, sys sysfs) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	loans, _ := b.list()
	for _, l := range loans {
		if s.picks(l, sys) {
			return cni.Errorf(cni.CodeTryAgain, "%s: is lent to attachment %s (namespace %s): %w", s.words, l.Tag, l.NetNS, err).
				WithDetails("DEL that attachment first; if its container is gone already, collect garbage (seam gc)")
		}
	}
	return err
}
