package main

import (
	"fmt"
	"net/netip"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns"
)

const (
	networkName = "bench"
	bridgeName  = "bench0"
	podIfName   = "eth0"
	subnetBits  = 20 // a bridge has at most 1,023 ports
)

var gateway = netip.AddrFrom4([4]byte{10, 9, 0, 1})

// Numbers of pods. The model is attached throughout: what all share is there because
// of it.
const (
	modelNumber   = 1
	firstPresent  = 2
	firstMeasured = 2000
)

// A pod is an empty namespace that waits to be attached. All that is said of it
// follows from its number.
type pod struct {
	number int
	path   string
	ns     *netns.Namespace
}

func newPod(number int) (*pod, error) {
	path := fmt.Sprintf("/run/netns/pod-%04d", number)
	ns, err := netns.NewAt(path)
	if err != nil {
		return nil, err
	}
	return &pod{number, path, ns}, nil
}

// openPod opens one that another process made.
func openPod(number int) (*pod, error) {
	path := fmt.Sprintf("/run/netns/pod-%04d", number)
	ns, err := netns.Open(path)
	if err != nil {
		return nil, err
	}
	return &pod{number, path, ns}, nil
}

func newPods(first, count int) ([]*pod, error) {
	pods := make([]*pod, count)
	for i := range pods {
		var err error
		if pods[i], err = newPod(first + i); err != nil {
			return nil, err
		}
	}
	return pods, nil
}

func (p *pod) id() string { return fmt.Sprintf("pod-%04d", p.number) }

func (p *pod) tag() cni.Tag {
	return cni.Attachment{Network: networkName, ContainerID: p.id(), IfName: podIfName}.Tag()
}

// ports are the host ports that are forwarded to podPorts.
func (p *pod) ports() []uint16 {
	const firstPort = 20000
	port := uint16(firstPort + 2*p.number)
	return []uint16{port, port + 1}
}

var podPorts = [2]uint16{8080, 8443}

// addr is the address that the floor gives. The model, the first that host-local
// gives one to, has the same from there.
func (p *pod) addr() netip.Addr {
	base := gateway.As4()
	n := int(base[2])<<8 + int(base[3]) + p.number
	return netip.AddrFrom4([4]byte{base[0], base[1], byte(n >> 8), byte(n)})
}

func (p *pod) identity() identity { return identity{string(p.tag()), p.addr(), p.ports()} }
