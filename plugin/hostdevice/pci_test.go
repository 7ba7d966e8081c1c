package hostdevice_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/hostdevice"
	"github.com/seamnet/seam/plugin/plugintest"
)

// TestPCI lends network cards, in the first namespace, to which the kernel brings them
// back by itself when a pod ends: under the pod's name for them or a new one.
func TestPCI(t *testing.T) {
	cards := map[string]string{"PCI": os.Getenv("SEAM_TEST_PCI"), "virtio": os.Getenv("SEAM_TEST_PCI_VIRTIO")}
	if cards["PCI"] == "" {
		t.Skip("needs a PCI network card that may be taken, its address in SEAM_TEST_PCI: make test-kernels runs this")
	}
	for kind, address := range cards {
		if address != "" {
			t.Run(kind, func(t *testing.T) { testCard(t, address) })
		}
	}
}

func testCard(t *testing.T, address string) {
	host := plugintest.Host(t)
	p := hostdevice.New(host)
	name := ""
	for _, pattern := range []string{"net", "virtio*/net"} {
		if out, err := plugintest.Try(nil, "sh", "-c", "ls /sys/bus/pci/devices/"+address+"/"+pattern); err == nil {
			name = strings.TrimSpace(out)
		}
	}
	plugintest.Run(t, nil, "ip", "link", "set", name, "mtu", "1400", "up")
	plugintest.Run(t, nil, "ip", "addr", "add", "198.51.100.9/24", "dev", name)
	defer plugintest.Run(t, nil, "ip", "addr", "flush", "dev", name)
	for _, dies := range []bool{false, true} {
		pod := netnstest.NewPod(t, "pod1")
		r := plugintest.Request(t, conf(`"pciBusID":"`+address+`"`+ipam), pod, "c1", finder)
		result, err := p.Add(context.Background(), r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		r.Prev = result
		if err := p.Check(context.Background(), r); err != nil {
			t.Errorf("%s: check: %v", name, err)
		}
		other := plugintest.Request(t, conf(`"pciBusID":"`+address+`"`), pod, "c2", finder)
		other.IfName = "net1"
		if _, err := p.Add(context.Background(), other); err == nil || !strings.Contains(err.Error(), "lent to attachment net/c1/eth0") {
			t.Errorf("%s: lent twice: %v", name, err)
		}
		pod.NS.Close()
		if dies {
			if err := netns.Remove(pod.Path); err != nil {
				t.Fatal(err)
			}
		}
		// Of a pod that died the kernel clears up in its own time: a later DEL finds what the
		// first waited for in vain.
		for i := 0; i == 0 || dies && i < 6 && !there(name); i++ {
			if err := p.Del(context.Background(), r); err != nil {
				t.Errorf("%s: del, pod died %t: %v", name, dies, err)
			}
		}
		if err := netns.Remove(pod.Path); err != nil {
			t.Fatal(err)
		}
		if !there(name) {
			out, _ := plugintest.Try(nil, "sh", "-c", "ip -d link; lsns -t net") // who holds the pod's?
			t.Errorf("%s is not at home, pod died %t:\n%s", name, dies, out)
		}
		got := plugintest.Run(t, nil, "ip", "addr", "show", name)
		for _, want := range []string{"mtu 1400", ",UP", "198.51.100.9/24"} {
			if !strings.Contains(got, want) || strings.Contains(got, "altname seam-") {
				t.Errorf("%s, pod died %t: want %q, and no mark, in\n%s", name, dies, want, got)
			}
		}
	}
}

func there(name string) bool {
	_, err := os.Stat("/sys/class/net/" + name)
	return err == nil
}
