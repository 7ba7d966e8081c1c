package runtimes

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/plugintest"
)

const (
	frontNetwork = `{"cniVersion": "1.1.0", "name": "front", "plugins": [
		{"type": "bridge", "bridge": "front0", "isDefaultGateway": true, "ipMasq": true, "capabilities": {"mac": true},
		 "ipam": {"type": "host-local", "subnet": "10.64.0.0/24"}},
		{"type": "portmap", "capabilities": {"portMappings": true}},
		{"type": "bandwidth", "capabilities": {"bandwidth": true}}]}`
	backNetwork = `{"cniVersion": "1.0.0", "name": "back", "plugins": [
		{"type": "ptp", "ipam": {"type": "host-local", "subnet": "10.65.0.0/24"}}]}`
	// oneNetwork has one address to give.
	oneNetwork = `{"cniVersion": "1.1.0", "name": "one", "plugins": [
		{"type": "bridge", "bridge": "one0", "ipam": {"type": "host-local", "subnet": "10.66.0.0/24", "rangeStart": "10.66.0.9", "rangeEnd": "10.66.0.9"}}]}`
)

func TestRuncHook(t *testing.T) { t.Parallel(); hookStory(t, "runc") }
func TestCrunHook(t *testing.T) { t.Parallel(); hookStory(t, "crun") }

// hookStory: containers of a bare runtime come, are reached, and go, by their
// annotations alone.
func hookStory(t *testing.T, runtime string) {
	onNode(t, func(n *node) {
		rt := n.ociRuntime(runtime)
		for _, list := range []string{frontNetwork, backNetwork, oneNetwork} {
			n.network(list)
		}
		n.listenOutside()
		rt.up(bundle{name: "first", annotations: map[string]string{"seam.network": "front,back,one", "seam.ports": "18079:80"}})
		rt.must(rt.try("delete", "--force", "first"))
		pod := netnstest.NewPod(t, "shared")
		before := n.footprint()
		rt.comeAndGo()
		n.same(before)
		rt.failToCome()
		rt.shareNamespaces(pod)
		n.same(before)
	})
}

func (rt *ociRuntime) comeAndGo() {
	rt.Helper()
	web := map[string]string{
		"seam.network": "front,back:net0", "seam.ports": "18080:80,127.0.0.1:18081:80", "seam.ip": "10.64.0.77",
		"seam.mac": "02:00:00:00:00:07", "seam.ip.net0": "10.65.0.9",
	}
	if rt.has("bandwidth") {
		web["seam.bandwidth"] = "ingress=80M,egress=80M"
	}
	rt.up(bundle{name: "web", annotations: web})
	rt.answers(nil, "10.64.0.77:80", "web asked by 10.64.0.1")
	rt.answers(nil, "10.65.0.9:80", "web asked by "+gatewayOf("10.65.0.0"))
	rt.answers(rt.outside, nodeAddr+":18080", "web asked by "+outsideAddr)
	rt.closed(rt.outside, nodeAddr+":18081")
	if got := rt.inside("web", "wget", "-qO-", url(outsideAddr)); got != "outside asked by "+nodeAddr {
		rt.Errorf("from inside: %q", got)
	}
	if got := rt.inside("web", "ip", "link", "show", "eth0"); !strings.Contains(got, "02:00:00:00:00:07") {
		rt.Errorf("eth0 has not the address that was asked for:\n%s", got)
	}
	if got := plugintest.Run(rt, nil, "tc", "qdisc"); rt.has("bandwidth") && !strings.Contains(got, "tbf") {
		rt.Errorf("nothing limits the bandwidth:\n%s", got)
	}
	rt.sound()

	// A name that CNI does not allow, and ports of its own.
	rt.up(bundle{name: "db+1", annotations: map[string]string{"seam.network": "front", "seam.ports": "18082:80"}})
	rt.answers(rt.outside, nodeAddr+":18082", "db+1 asked by "+outsideAddr)
	if got := rt.inside("db+1", "wget", "-qO-", url("10.64.0.77")); !strings.HasPrefix(got, "web asked by 10.64.0.") {
		rt.Errorf("from container to container: %q", got)
	}

	// Killed, and what it was attached to is forgotten by everyone but Seam.
	rt.kill(rt.pid("web"))
	file := filepath.Join(confDir, "back.conflist")
	rt.must(os.Rename(file, file+".away"))
	rt.eventually(func() error { return rt.try("delete", "web") })
	rt.closed(rt.outside, nodeAddr+":18080")
	rt.answers(rt.outside, nodeAddr+":18082", "db+1 asked by "+outsideAddr)
	rt.must(os.Rename(file+".away", file))
	rt.must(rt.try("delete", "--force", "db+1"))
}

// gatewayOf returns the address that ptp gives to the node in a subnet.
func gatewayOf(subnet string) string { return strings.TrimSuffix(subnet, "0") + "1" }

// failToCome: the third network has no address left: the container is not made, the
// runtime says why, and nothing stays on the first two.
func (rt *ociRuntime) failToCome() {
	rt.Helper()
	rt.up(bundle{name: "holder", annotations: map[string]string{"seam.network": "one"}})
	errFile := filepath.Join(rt.dir, "hook-errors")
	loser := rt.bundle(bundle{name: "loser", annotations: map[string]string{
		"seam.network": "front,back,one", "seam.ports": "18080:80", "run.oci.hooks.stderr": errFile,
	}})
	try := func() {
		err := rt.create(loser, "loser")
		if err == nil {
			rt.Fatal("a container was made without its networks")
		}
		said := err.Error() + contents(errFile)
		if !strings.Contains(said, "seam hook: container loser: attach one/loser/eth2: ") || !strings.Contains(said, "10.66.0") {
			rt.Errorf("%s does not say why:\n%s", rt.name, said)
		}
	}
	try() // it leaves the locks of its networks, which the next takes
	before := rt.footprint()
	try()
	rt.same(before)
	if err := rt.create(rt.bundle(bundle{name: "typo", annotations: map[string]string{"seam.network": "front", "seam.port": "80:80"}}), "typo"); err == nil {
		rt.Error("a mistyped annotation was lost in silence")
	}
	if err := rt.create(rt.bundle(bundle{name: "bare", annotations: map[string]string{"seam.network": "front"}, namespaces: []any{}}), "bare"); err == nil {
		rt.Error("a container on the host's network was attached to another")
	}
	rt.must(rt.try("delete", "--force", "holder"))
	rt.up(bundle{name: "last", annotations: map[string]string{"seam.network": "front,back,one"}})
	rt.must(rt.try("delete", "--force", "last"))
}

// shareNamespaces: a namespace that has a path outlives the container, whose
// interfaces go; a container on the host's network is left alone.
func (rt *ociRuntime) shareNamespaces(pod *netnstest.Pod) {
	rt.Helper()
	named := []any{map[string]string{"type": "network", "path": pod.Path}}
	rt.up(bundle{name: "guest", annotations: map[string]string{"seam.network": "front"}, namespaces: named})
	rt.answers(nil, rt.attached("front", "guest").addr()+":80", "guest asked by 10.64.0.1")
	rt.must(rt.try("delete", "--force", "guest"))
	if got := plugintest.Run(rt, pod, "ip", "-o", "link"); strings.Contains(got, "eth0") {
		rt.Errorf("the interface has outlived the container:\n%s", got)
	}
	rt.up(bundle{name: "host", namespaces: []any{}})
	rt.answers(nil, "127.0.0.1:80", "host asked by 127.0.0.1")
	rt.must(rt.try("delete", "--force", "host"))
}
