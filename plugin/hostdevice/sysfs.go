package hostdevice

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// sysfs is the folder where the kernel shows its devices.
type sysfs string

func (s sysfs) pci(id string) string { return filepath.Join(string(s), "bus/pci/devices", id) }
func (s sysfs) auxiliary(id string) string {
	return filepath.Join(string(s), "bus/auxiliary/devices", id)
}

// at returns where a path that begins with /sys is.
func (s sysfs) at(path string) string {
	return filepath.Join(string(s), strings.TrimPrefix(filepath.Clean(path), "/sys/"))
}

func (s sysfs) has(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// userSpaceDrivers give a PCI device to a program, so that it has no link.
var userSpaceDrivers = []string{"vfio-pci", "uio_pci_generic", "igb_uio"}

func (s sysfs) userSpaceDriver(device string) bool {
	driver, err := os.Readlink(filepath.Join(device, "driver"))
	return err == nil && slices.Contains(userSpaceDrivers, filepath.Base(driver))
}

// linkOf returns the name of the first link of a device. A virtio device's are one
// folder deeper than others'. A device without any, or none that is in this namespace,
// matches fs.ErrNotExist.
func (s sysfs) linkOf(device string) (string, error) {
	if _, err := os.Stat(device); err != nil {
		return "", err
	}
	folders, _ := filepath.Glob(filepath.Join(device, "virtio*", "net"))
	for _, folder := range append([]string{filepath.Join(device, "net")}, folders...) {
		if links, err := os.ReadDir(folder); err == nil && len(links) > 0 {
			return links[0].Name(), nil
		}
	}
	return "", fmt.Errorf("%s has no link here: %w", device, os.ErrNotExist)
}

// deviceOf returns the folder of the device of a link, "" for a link that has none.
func (s sysfs) deviceOf(link string) string {
	return s.real(filepath.Join(string(s), "class/net", link, "device"))
}

// real returns the one path that a folder has of several, "" if it is not there.
func (s sysfs) real(path string) string {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return ""
	}
	return path
}
