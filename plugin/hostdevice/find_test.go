package hostdevice_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/hostdevice"
	"github.com/seamnet/seam/plugin/plugintest"
)

// tree makes a sysfs as the kernel lays it out: folders of devices, and links to them
// from the buses. Entries are "folder" or "link -> target".
func tree(t *testing.T, entries ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, e := range entries {
		link, target, isLink := strings.Cut(e, " -> ")
		path := filepath.Join(root, link)
		err := os.MkdirAll(path, 0o755)
		if isLink {
			if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
				os.Remove(path)
				err = os.Symlink(target, path)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

const (
	nic    = "devices/pci0000:00/0000:00:05.0"
	virtio = "devices/pci0000:00/0000:00:06.0"
	vf     = "devices/pci0000:00/0000:00:07.0"
	sf     = nic + "/mlx5_core.sf.4"
)

func sysfs(t *testing.T) string {
	return tree(t,
		nic+"/net/ens5", nic+"/driver -> ../../../bus/pci/drivers/e1000",
		virtio+"/virtio3/net/ens6", virtio+"/driver -> ../../../bus/pci/drivers/virtio-pci",
		vf, vf+"/driver -> ../../../bus/pci/drivers/vfio-pci",
		sf+"/net/ens7", "devices/pci0000:00/0000:00:08.0",
		"bus/pci/devices/0000:00:05.0 -> ../../../"+nic,
		"bus/pci/devices/0000:00:06.0 -> ../../../"+virtio,
		"bus/pci/devices/0000:00:07.0 -> ../../../"+vf,
		"bus/pci/devices/0000:00:08.0 -> ../../../devices/pci0000:00/0000:00:08.0",
		"bus/auxiliary/devices/mlx5_core.sf.4 -> ../../../"+sf,
		"class/net/ens5/device -> ../../../"+nic,
		"class/net/ens6/device -> ../../../"+virtio+"/virtio3",
		"class/net/ens7/device -> ../../../"+sf,
	)
}

func TestSelectors(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		f.plugin = hostdevice.NewAt(f.host, sysfs(t))
		plugintest.Run(t, nil, "ip", "link", "add", "ens6", "address", "02:00:00:00:00:06", "type", "veth", "peer", "name", "ens7", "address", "02:00:00:00:00:07")
		before := f.home()
		for _, c := range []struct{ keys, want string }{
			{`"device":"ens6","hwaddr":"02:00:00:00:00:05"`, "ens6"},
			{`"hwaddr":"02-00-00-00-00-05","kernelpath":"/sys/` + virtio + `"`, "ens5"},
			{`"kernelpath":"/sys/` + nic + `","pciBusID":"0000:00:06.0"`, "ens5"},
			{`"kernelpath":"/sys/` + virtio + `/virtio3"`, "ens6"},
			{`"pciBusID":"0000:00:05.0"`, "ens5"},
			{`"pciBusID":"0000:00:06.0"`, "ens6"},
			{`"pciBusID":"0000:00:05.0","runtimeConfig":{"deviceID":"0000:00:06.0"}`, "ens6"},
			{`"pciBusID":"0000:00:05.0","RuntimeConfig":{"DeviceID":"mlx5_core.sf.4"}`, "ens7"},
			{`"pciBusID":"0000:00:07.0","runtimeConfig":{"deviceID":"mlx5_core.sf.4"}`, "ens7"}, // not what DPDK has
			{`"runtimeConfig":{"deviceID":"0000:00:05.0"}`, "ens5"},
			{`"device":"ens5","mtu":9000,"ipMasq":true`, "ens5"}, // another plugin's keys
		} {
			r := f.request(c.keys)
			if _, err := f.plugin.Add(context.Background(), r); err != nil {
				t.Errorf("%s: %v", c.keys, err)
				continue
			}
			if got := plugintest.Run(t, f.pod, "ip", "link", "show", "eth0"); !strings.Contains(got, "alias "+c.want+"\n") {
				t.Errorf("%s: want %s, got\n%s", c.keys, c.want, got)
			}
			// Who asks for it by its place is told, whatever it was lent by.
			for _, place := range map[string][]string{
				"ens5": {`"pciBusID":"0000:00:05.0"`}, "ens6": {`"pciBusID":"0000:00:06.0"`, `"kernelpath":"/sys/` + virtio + `"`},
				"ens7": {`"runtimeConfig":{"deviceID":"mlx5_core.sf.4"}`},
			}[c.want] {
				other := f.request(place)
				other.IfName = "net1"
				if _, err := f.plugin.Add(context.Background(), other); err == nil || !strings.Contains(err.Error(), "lent to attachment net/c1/eth0") {
					t.Errorf("%s, lent: %v", place, err)
				}
			}
			f.del(r)
			f.same(c.keys, before)
		}
		for keys, want := range map[string]string{
			`"x":1`:                                       "no device is selected",
			`"pciBusID":"0000:00:08.0"`:                   "pciBusID 0000:00:08.0",
			`"pciBusID":"0000:00:09.0"`:                   "no such file",
			`"kernelpath":"/sys/devices/nowhere"`:         "no such file",
			`"hwaddr":"02:00:00:00:00:0f"`:                "no link has it",
			`"runtimeConfig":{"deviceID":"0000:00:09.0"}`: "neither a PCI device nor one of the auxiliary bus",
		} {
			_, err := cni.Add(context.Background(), f.plugin, f.request(keys))
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", keys, err, want)
			}
			f.same(keys, before)
		}
		// The runtime tells the device when it is time.
		if err := f.plugin.Status(context.Background(), f.request(`"capabilities":{"deviceID":true}`)); err != nil {
			t.Errorf("STATUS without a device: %v", err)
		}
	})
}

// TestVirtualByMAC: a link that is no hardware is found by its MAC address, too.
func TestVirtualByMAC(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		plugintest.Run(t, nil, "ip", "link", "add", "over", "link", "wire", "address", "02:00:00:00:00:09", "type", "macvlan")
		r, _ := f.add(`"hwaddr":"02:00:00:00:00:09"`)
		f.del(r)
		plugintest.Run(t, nil, "ip", "link", "show", "over")
	})
}

// TestUserSpace: what a program drives has no link to be moved, but may have addresses.
func TestUserSpace(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		f.plugin = hostdevice.NewAt(f.host, sysfs(t))
		before := f.home()
		for _, keys := range []string{`"pciBusID":"0000:00:07.0"`, `"runtimeConfig":{"deviceID":"0000:00:07.0"}`} {
			r, result := f.add(keys + ipam)
			if diff := cmp.Diff([]cni.Interface{{Name: "eth0", Sandbox: f.pod.Path}}, result.Interfaces); diff != "" {
				t.Errorf("interfaces (-want +got):\n%s", diff)
			}
			if len(result.IPs) != 1 || *result.IPs[0].Interface != 0 {
				t.Errorf("addresses: %+v", result.IPs)
			}
			r.Prev = result
			if err := f.plugin.Check(context.Background(), r); err != nil {
				t.Errorf("check: %v", err)
			}
			f.same("lent to a program", before)
			f.del(r)
		}
	})
}
