package runtimes

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const podNetwork = `{"cniVersion": "1.0.0", "name": "pods", "plugins": [
	{"type": "bridge", "bridge": "pods0", "isDefaultGateway": true, "hairpinMode": true, "ipMasq": true,
	 "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.63.0.0/24"}]]}},
	{"type": "portmap", "capabilities": {"portMappings": true}},
	{"type": "bandwidth", "capabilities": {"bandwidth": true}},
	{"type": "witness", "capabilities": {"portMappings": true, "bandwidth": true, "dns": true}}]}`

const hostPort = 18095

// TestCRI: pods as a kubelet asks for them.
func TestCRI(t *testing.T) {
	t.Parallel()
	onNode(t, func(n *node) {
		c := n.crictl()
		c.callWitness()
		c.network(podNetwork)
		c.listenOutside()
		c.ready()
		before := c.footprint()

		web := c.runPod(podConfig{"web", hostPort, map[string]string{
			"kubernetes.io/ingress-bandwidth": "8M", "kubernetes.io/egress-bandwidth": "4M",
		}})
		db := c.runPod(podConfig{name: "db"})
		c.podsReach(web, db)
		c.podsAreListed(web, db)
		c.asAsked(web)
		c.shaped()
		c.sound()

		web.remove()
		c.deletedTwice(web)
		c.closed(c.outside, port(nodeAddr, hostPort))
		c.answers(nil, db.addr()+":80", "db asked by 10.63.0.1")
		db.remove()
		c.same(before)
	})
}

// podsReach asks each from everywhere.
func (c *crictl) podsReach(web, db *pod) {
	c.Helper()
	c.answers(nil, web.addr()+":80", "web asked by 10.63.0.1")
	c.answers(c.outside, port(nodeAddr, hostPort), "web asked by "+outsideAddr)
	c.answers(nil, port(nodeAddr, hostPort), "web asked by "+nodeAddr)
	c.answers(nil, port("127.0.0.1", hostPort), "web asked by 10.63.0.1")
	for _, ask := range []struct {
		from          *pod
		address, want string
	}{
		{web, outsideAddr, "outside asked by " + nodeAddr},
		{db, web.addr(), "web asked by " + db.addr()},
		{web, db.addr(), "db asked by " + web.addr()},
		{db, port(nodeAddr, hostPort), "web asked by 10.63.0.1"},  // answers come back by way of the node
		{web, port(nodeAddr, hostPort), "web asked by 10.63.0.1"}, // itself
	} {
		if got := ask.from.exec("wget", "-qO-", url(ask.address)); got != ask.want {
			c.Errorf("ask %s: %q, want %q", ask.address, got, ask.want)
		}
	}
	if got := web.exec("cat", "/etc/resolv.conf"); got != "search example.org\nnameserver 192.0.2.53" {
		c.Errorf("resolv.conf: %q", got)
	}
}

// podsAreListed compares "seam ls" with what the kubelet is told.
func (c *crictl) podsAreListed(web, db *pod) {
	c.Helper()
	listed := c.attached("pods", web.id)
	want := attachment{"pods", web.id, "eth0", []string{web.addr() + "/24"}, []string{fmt.Sprintf("%d:80/tcp", hostPort)}, false}
	if diff := cmp.Diff(want, listed); diff != "" {
		c.Errorf("seam ls (-want +got):\n%s", diff)
	}
	if got := c.attached("pods", db.id); got.addr() != db.addr() || got.Ports != nil {
		c.Errorf("seam ls: %+v, want %s without ports", got, db.addr())
	}
	if lo := c.attached("cni-loopback", web.id); lo.addr() != "127.0.0.1" || lo.Ports != nil {
		c.Errorf("seam ls: %+v, want 127.0.0.1 without ports", lo)
	}
}

// asAsked looks at what the plugins were told: keys that begin with capitals, which
// no plugin's documentation shows.
func (c *crictl) asAsked(web *pod) {
	c.Helper()
	adds := c.calls("ADD", web.id)
	if len(adds) != 1 {
		c.Fatalf("ADD: %+v, want one", adds)
	}
	var told struct {
		PortMappings []map[string]any
		Bandwidth    map[string]any
		DNS          map[string]any
	}
	c.must(json.Unmarshal(adds[0].Config.RuntimeConfig, &told))
	if len(told.PortMappings) != 1 || told.PortMappings[0]["HostPort"] != float64(hostPort) {
		c.Errorf("portMappings %v", told.PortMappings)
	}
	if told.Bandwidth["IngressRate"] != 8e6 || told.Bandwidth["EgressRate"] != 4e6 {
		c.Errorf("bandwidth %v", told.Bandwidth)
	}
	if servers, _ := told.DNS["Servers"].([]any); len(servers) != 1 || servers[0] != "192.0.2.53" {
		c.Errorf("dns %v", told.DNS)
	}
	if args := adds[0].Args; !strings.Contains(args, "K8S_POD_NAME=web") || !strings.Contains(args, "IgnoreUnknown=1") {
		c.Errorf("CNI_ARGS %q", args)
	}
}

// shaped fails unless the kernel holds the rates that the annotations ask for.
func (c *crictl) shaped() {
	c.Helper()
	if !exists(binDir + "/bandwidth") {
		return
	}
	set := c.run("tc", "qdisc")
	// The bursts are those of a tenth of a second, not the 2^32-1 bits that containerd sends.
	for _, rate := range []string{"rate 8Mbit burst 100", "rate 4Mbit burst 50"} {
		if !strings.Contains(set, rate) {
			c.Errorf("no %s in\n%s", rate, set)
		}
	}
}

// deletedTwice looks at how the kubelet's stop and removal came to the plugins.
func (c *crictl) deletedTwice(p *pod) {
	c.Helper()
	dels := c.calls("DEL", p.id)
	if len(dels) != 2 || dels[0].NetNS == "" || dels[1].NetNS != "" {
		c.Errorf("DEL: %+v, want one with a namespace and one without", dels)
	}
}

// TestCRIDaemonDies: containerd is killed while pods run, and its successor removes
// them.
func TestCRIDaemonDies(t *testing.T) {
	t.Parallel()
	onNode(t, func(n *node) {
		c := n.crictl()
		c.callWitness()
		c.network(podNetwork)
		c.ready()
		before := c.footprint()

		web := c.runPod(podConfig{name: "web", hostPort: hostPort})
		c.stop()
		c.answers(c.outside, port(nodeAddr, hostPort), "web asked by "+outsideAddr)
		c.start()
		c.ready()
		c.answers(c.outside, port(nodeAddr, hostPort), "web asked by "+outsideAddr)
		db := c.runPod(podConfig{name: "db"})
		if got, want := db.exec("wget", "-qO-", url(web.addr())), "web asked by "+db.addr(); got != want {
			t.Errorf("from db: %q, want %q", got, want)
		}
		c.sound()

		c.stop()
		c.start()
		c.ready()
		web.remove()
		db.remove()
		c.closed(c.outside, port(nodeAddr, hostPort))
		c.same(before)
	})
}
