package runtimes

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/netns/netnstest"
)

// The circle: outer is a network of CNI's whose plugin calls a driver of Docker's, ring. That
// is Seam's own, and calls the plugins of inner, which runtimes do not know.
const (
	outerNetwork = `{"cniVersion": "1.1.0", "name": "outer", "plugins": [
	{"type": "cnm", "driver": "ring", "options": {"seam.network": "inner"}, "ipMasq": true,
	 "ipamDriver": "ring", "ipamOptions": {"seam.network": "inner"}, "capabilities": {"ips": true, "mac": true}},
	{"type": "portmap", "capabilities": {"portMappings": true}}]}`
	innerNetwork = `{"cniVersion": "1.1.0", "name": "inner", "plugins": [
	{"type": "bridge", "bridge": "inner0", "isDefaultGateway": true, "hairpinMode": true,
	 "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.81.0.0/24"}]]}}]}`
)

// innerGateway is the address of the node's that containers see.
const innerGateway = "10.81.0.1"

// A circle is a node on which the driver runs, without an engine.
type circle struct{ *node }

// circle starts the driver, and lets Seam attach to outer once. That is of the version of
// CNI's specification that the runtime knows.
func (n *node) circle(version string) *circle {
	n.Helper()
	if !n.has("cnm") {
		n.Fatal("seam install has not installed cnm, although seamd is beside it")
	}
	c := &circle{n}
	inner := c.file("conf")
	n.must(os.MkdirAll(inner, 0o700))
	n.write(filepath.Join(inner, "inner.conflist"), innerNetwork)
	const socket = "/run/docker/plugins/ring.sock"
	log, err := os.Create(c.file("log"))
	n.must(err)
	defer log.Close()
	serve := exec.Command(built("seamd"), "docker", "--name", "ring", "--socket", socket, "--engine", "",
		"--state-dir", c.file("state"), "--conf-dir", inner, "--bin-dir", binDir)
	serve.Stdout, serve.Stderr = log, log
	n.must(serve.Start())
	n.Cleanup(func() {
		n.must(serve.Process.Kill())
		_ = serve.Wait() // says that it was killed
		if n.Failed() {
			n.Log(contents(c.file("log")))
		}
	})
	n.eventually(func() error {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			conn.Close()
		}
		return err
	})
	n.network(strings.Replace(outerNetwork, "1.1.0", version, 1))
	return c
}

func (c *circle) file(name string) string { return filepath.Join(c.dir, "ring", name) }

// collect has Seam collect what is nobody's: of a network that nobody is on, all. Before
// version 1.1.0 plugins are not asked for that, and the network stays.
func (c *circle) collect() {
	c.Helper()
	c.run(built("seam"), "gc", "outer")
	if left := slices.DeleteFunc(files(c.file("state")), func(f string) bool { return filepath.Dir(f) == c.file("state") }); len(left) > 0 {
		c.Errorf("the driver still keeps %v", left)
	}
	if left := files("/var/lib/cni/cnm"); len(left) > 0 {
		c.Errorf("the plugin still keeps %v", left)
	}
}

// footprint is the node's, and what the driver keeps.
func (c *circle) footprint() string {
	c.Helper()
	return strings.Join(append(files(c.file("state")), c.node.footprint()), "\n")
}

// same waits until all is as it was, or fails.
func (c *circle) same(before string) {
	c.Helper()
	c.eventually(func() error {
		if diff := cmp.Diff(before, c.footprint()); diff != "" {
			return fmt.Errorf("something is left, or gone (-before +now):\n%s", diff)
		}
		return nil
	})
}

// inner fails unless the attachment's address is one of inner, and returns it.
func (c *circle) inner(containerID string) string {
	c.Helper()
	addr := c.attached("outer", containerID).addr()
	if !strings.HasPrefix(addr, "10.81.0.") {
		c.Errorf("seam ls: %s has %s, want an address of inner", containerID, addr)
	}
	return addr
}

// TestCNM: Seam as the runtime.
func TestCNM(t *testing.T) {
	t.Parallel()
	onNode(t, func(n *node) {
		c := n.circle("1.1.0")
		c.collect()
		c.listenOutside()
		web, db := netnstest.NewPod(t, "web"), netnstest.NewPod(t, "db")
		c.listen(web, ":80", "web")
		c.listen(db, ":80", "db")
		before := c.footprint()
		c.run(built("seam"), "status", "outer")
		c.run(built("seam"), "add", "outer", web.Path, "--id", "web", "--port", "18080:80", "--ip", "10.81.0.77")
		c.run(built("seam"), "add", "outer", db.Path, "--id", "db")
		if got := c.inner("web"); got != "10.81.0.77" {
			t.Errorf("web has %s, want the address that was asked for", got)
		}
		dbAddr := c.inner("db")
		c.answers(c.outside, nodeAddr+":18080", "web asked by "+outsideAddr)
		c.answers(db, "10.81.0.77:80", "web asked by "+dbAddr)
		c.answers(web, dbAddr+":80", "db asked by 10.81.0.77")
		c.answers(db, outsideAddr+":80", "outside asked by "+nodeAddr)
		c.sound()
		c.run(built("seam"), "gc", "outer")
		c.answers(c.outside, nodeAddr+":18080", "web asked by "+outsideAddr)
		c.run(built("seam"), "del", "outer", web.Path, "--id", "web")
		c.closed(c.outside, nodeAddr+":18080")
		// A container that is gone without a word: collected, its lease and endpoint, too.
		c.run(built("seam"), "gc", "outer", "--keep-none")
		c.collect()
		c.same(before)
	})
}

// TestCNMPodman: Podman's containers on the network of a Docker driver.
func TestCNMPodman(t *testing.T) {
	t.Parallel()
	onNode(t, func(n *node) {
		p := n.startPodman()
		c := n.circle("1.0.0")
		c.listenOutside()
		before := c.footprint()
		a := p.web("a", "--network", "outer", "--publish", "18090:80")
		b := p.web("b", "--network", "outer")
		aAddr, bAddr := c.inner(a), c.inner(b)
		c.answers(c.outside, nodeAddr+":18090", "a asked by "+outsideAddr)
		c.answers(nil, aAddr+":80", "a asked by "+innerGateway)
		p.asks("b", aAddr, "a asked by "+bAddr)
		p.asks("a", bAddr, "b asked by "+aAddr)
		p.asks("b", outsideAddr, "outside asked by "+nodeAddr)
		c.sound()
		p.podman("restart", "--time", "0", "a")
		c.answers(c.outside, nodeAddr+":18090", "a asked by "+outsideAddr)
		p.podman("rm", "--force", "--time", "0", "a", "b")
		c.closed(c.outside, nodeAddr+":18090")
		c.same(before)
	})
}

// TestCNMCRI: pods as a kubelet asks for them on the network of a Docker driver.
func TestCNMCRI(t *testing.T) {
	t.Parallel()
	onNode(t, func(n *node) {
		k := n.crictl()
		c := n.circle("1.0.0")
		c.listenOutside()
		k.ready()
		before := c.footprint()
		web := k.runPod(podConfig{name: "web", hostPort: hostPort})
		db := k.runPod(podConfig{name: "db"})
		want := attachment{"outer", web.id, "eth0", []string{web.addr() + "/24"}, []string{fmt.Sprintf("%d:80/tcp", hostPort)}, false}
		if diff := cmp.Diff(want, c.attached("outer", web.id)); diff != "" {
			t.Errorf("seam ls (-want +got):\n%s", diff)
		}
		c.inner(web.id)
		c.answers(c.outside, port(nodeAddr, hostPort), "web asked by "+outsideAddr)
		c.answers(nil, db.addr()+":80", "db asked by "+innerGateway)
		web.asks(db.addr(), "db asked by "+web.addr())
		db.asks(web.addr(), "web asked by "+db.addr())
		db.asks(outsideAddr, "outside asked by "+nodeAddr)
		c.sound()
		web.remove()
		db.remove()
		c.closed(c.outside, port(nodeAddr, hostPort))
		c.same(before)
	})
}
