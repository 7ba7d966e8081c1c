package runtimes

import (
	"fmt"
	"strings"
	"testing"
)

// A neighbour is a web server that one of the runtimes runs on the shared network.
type neighbour struct {
	name, addr string
	hostPort   int // of the node, which leads to it
	asks       func(address, want string)
}

// TestDockerWithPods: Docker's containers, pods of a kubelet's runtime and Podman's
// containers stand on one network, and reach one another by address and by published
// port.
func TestDockerWithPods(t *testing.T) {
	onEngines(t, func(d *docker) {
		c := &crictl{d.containerd, d.crictlProgram()}
		c.load("k8s.io")
		p := d.startPodman()
		d.withSeamd()
		d.network(prodNetwork)
		d.listenOutside()
		c.ready()
		before := d.footprint()
		d.create("prod", d.itsAddresses("prod", prodSubnet)...)

		web := c.runPod(podConfig{name: "pod", hostPort: 18095})
		d.web("box", "prod", "--publish", "18080:80")
		cask := p.web("cask", "--network", "prod", "--publish", "18090:80")
		d.neighbourly([]neighbour{
			{"pod", web.addr(), 18095, web.asks},
			{"box", d.on("prod", "box").IPAddress, 18080, func(address, want string) { d.asks("box", address, want) }},
			{"cask", d.attached("prod", cask).addr(), 18090, func(address, want string) { p.asks("cask", address, want) }},
		})
		if got := len(d.attachments("prod")); got != 3 {
			d.Errorf("seam ls: %d attachments, want 3", got)
		}
		d.sound()

		p.podman("rm", "--force", "--time", "0", "cask")
		web.remove()
		d.answers(d.outside, nodeAddr+":18080", "box asked by "+outsideAddr)
		d.remove("box")
		d.docker("network", "rm", "prod")
		d.same(before)
	})
}

// asks asks from inside the pod.
func (p *pod) asks(address, want string) {
	p.Helper()
	p.eventually(func() error {
		got, err := p.try("exec", "--sync", p.container, "wget", "-qO-", url(address))
		if got = strings.TrimSpace(got); err == nil && got != want {
			err = fmt.Errorf("pod asks %s: %q, want %q", address, got, want)
		}
		return err
	})
}

// neighbourly has all ask one another, and outside ask them.
func (n *node) neighbourly(all []neighbour) {
	n.Helper()
	for _, from := range all {
		for _, to := range all {
			if from.name != to.name {
				from.asks(to.addr, to.name+" asked by "+from.addr)
			}
			from.asks(port(nodeAddr, to.hostPort), to.name+" asked by 10.71.0.1") // answers come back by way of the node
		}
		from.asks(outsideAddr, "outside asked by "+nodeAddr)
		n.answers(n.outside, port(nodeAddr, from.hostPort), from.name+" asked by "+outsideAddr)
		n.answers(nil, from.addr+":80", from.name+" asked by 10.71.0.1")
	}
}
