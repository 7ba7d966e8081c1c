package runtimes

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// podman is Podman with all that it keeps in the node's folder.
type podman struct{ *node }

const containersConf = `[network]
network_backend = "cni"
cni_plugin_dirs = ["` + binDir + `"]
network_config_dir = "` + confDir + `"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[containers]
default_ulimits = ["nofile=1024:4096", "nproc=1024:4096"]
`

// startPodman loads the images. Where the machine refuses containers, or Podman has no
// CNI, as from version 5 on, the test is skipped.
func (n *node) startPodman() *podman {
	n.Helper()
	n.need("podman", "conmon", "runc")
	p := &podman{n}
	n.must(os.Setenv("CONTAINERS_CONF", n.write("containers.conf", containersConf)))
	if _, err := p.tryPodman("network", "ls"); err != nil {
		n.Skipf("needs Podman with its CNI networks, as in version 4: %v", err)
	}
	p.podman("load", "--input", n.images())
	if _, err := p.tryPodman("run", "--rm", "--cgroup-parent", n.cgroup, "--network", "none", image, "true"); err != nil {
		n.Skipf("this machine runs no containers: %v", err)
	}
	return p
}

func (p *podman) tryPodman(args ...string) (string, error) {
	return p.try("podman", append([]string{"--root", filepath.Join(p.dir, "podman"), "--runroot", "/run/podman", "--tmpdir", "/run/libpod"}, args...)...)
}

func (p *podman) podman(args ...string) string {
	p.Helper()
	out, err := p.tryPodman(args...)
	p.must(err)
	return strings.TrimSpace(out)
}

// web runs a web server in the background and returns the container's ID.
func (p *podman) web(name string, args ...string) string {
	p.Helper()
	args = append([]string{"run", "--detach", "--cgroup-parent", p.cgroup, "--name", name, "--env", "NAME=" + name}, args...)
	return p.podman(append(args, image, "httpd", "-f", "-h", "/www")...)
}

// asks asks from inside the container.
func (p *podman) asks(container, address, want string) {
	p.Helper()
	p.eventually(func() error {
		got, err := p.tryPodman("exec", container, "wget", "-qO-", url(address))
		if err == nil && got != want {
			err = fmt.Errorf("%s asks %s: %q, want %q", container, address, got, want)
		}
		return err
	})
}

// blue is the chain that Podman and nerdctl write themselves. Podman reads a network's
// subnets from "ranges" only.
const blue = `{"cniVersion": "0.4.0", "name": "blue", "plugins": [
	{"type": "bridge", "bridge": "blue0", "isGateway": true, "isDefaultGateway": true, "hairpinMode": true, "ipMasq": true,
	 "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.61.0.0/24", "gateway": "10.61.0.1"}]]}},
	{"type": "portmap", "capabilities": {"portMappings": true}},
	{"type": "firewall"},
	{"type": "tuning"},
	{"type": "witness", "capabilities": {"portMappings": true, "ips": true, "mac": true}}]}`

const green = `{"cniVersion": "1.0.0", "name": "green", "plugins": [
	{"type": "ptp", "ipMasq": true, "capabilities": {"ips": true, "mac": true},
	 "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.62.0.0/24"}]]}}]}`

func TestPodman(t *testing.T) {
	t.Parallel()
	onNode(t, func(n *node) {
		p := n.startPodman()
		p.callWitness()
		p.network(blue)
		p.network(green)
		p.listenOutside()
		before := p.footprint()
		p.networksAreKnown()

		a := p.web("a", "--network", "blue", "--ip", "10.61.0.77", "--mac-address", "02:00:00:00:00:77", "--publish", "18090:80")
		b := p.web("b", "--network", "blue")
		p.containersReach(a, b)
		p.connectedLive(b)
		p.restarted(a)
		p.diesAlone(b)
		p.podman("rm", "--force", "--time", "0", "a", "b")
		p.closed(p.outside, nodeAddr+":18090")
		p.same(before)

		p.podman("network", "rm", "blue")
		if exists(filepath.Join(confDir, "blue.conflist")) {
			t.Error("network rm left blue.conflist")
		}
	})
}

// networksAreKnown looks at Podman's lists: a plugin whose answer to VERSION, which
// it asks in an environment of dummies, is none would hide its network there.
func (p *podman) networksAreKnown() {
	p.Helper()
	names := strings.Fields(p.podman("network", "ls", "--quiet"))
	for _, name := range []string{"blue", "green"} {
		if !slices.Contains(names, name) {
			p.Errorf("podman network ls: %v, want %s", names, name)
		}
	}
	var inspected []struct {
		Name             string
		NetworkInterface string `json:"network_interface"`
		Subnets          []struct{ Subnet, Gateway string }
		Internal         bool
	}
	p.must(json.Unmarshal([]byte(p.podman("network", "inspect", "blue")), &inspected))
	if got := fmt.Sprintf("%+v", inspected); got != "[{Name:blue NetworkInterface:blue0 Subnets:[{Subnet:10.61.0.0/24 Gateway:10.61.0.1}] Internal:false}]" {
		p.Errorf("podman network inspect: %s", got)
	}
}

func (p *podman) containersReach(a, b string) {
	p.Helper()
	want := attachment{"blue", a, "eth0", []string{"10.61.0.77/24"}, []string{"18090:80/tcp"}, false}
	if diff := cmp.Diff(want, p.attached("blue", a)); diff != "" {
		p.Errorf("seam ls (-want +got):\n%s", diff)
	}
	if link := p.podman("exec", "a", "ip", "link", "show", "eth0"); !strings.Contains(link, "02:00:00:00:00:77") {
		p.Errorf("a: %s, want 02:00:00:00:00:77", link)
	}
	p.answers(p.outside, nodeAddr+":18090", "a asked by "+outsideAddr)
	p.answers(nil, "127.0.0.1:18090", "a asked by 10.61.0.1")
	p.answers(nil, "10.61.0.77:80", "a asked by 10.61.0.1")
	bAddr := p.attached("blue", b).addr()
	p.asks("b", "10.61.0.77", "a asked by "+bAddr)
	p.asks("a", bAddr, "b asked by 10.61.0.77")
	p.asks("b", nodeAddr+":18090", "a asked by 10.61.0.1")
	p.asks("b", outsideAddr, "outside asked by "+nodeAddr)
	p.sound()

	adds := p.calls("ADD", a)
	if len(adds) != 1 || !strings.Contains(adds[0].Args, "MAC=02:00:00:00:00:77;IP=10.61.0.77") {
		p.Errorf("ADD: %+v, want one with IP and MAC in CNI_ARGS", adds)
	}
}

// connectedLive gives a running container a second network, and takes it away.
func (p *podman) connectedLive(b string) {
	p.Helper()
	before := p.footprint()
	p.podman("network", "connect", "--ip", "10.62.0.9", "green", "b")
	second := p.attached("green", b)
	if second.addr() != "10.62.0.9" || second.IfName != "eth1" {
		p.Errorf("seam ls: %+v, want eth1 with 10.62.0.9", second)
	}
	p.answers(nil, "10.62.0.9:80", "b asked by 10.62.0.1")
	p.sound()
	p.podman("network", "disconnect", "green", "b")
	p.closed(nil, "10.62.0.9:80")
	p.same(before)
	p.asks("b", "10.61.0.77", "a asked by "+p.attached("blue", b).addr())
}

// restarted starts a container again: in a new namespace, with what it had.
func (p *podman) restarted(a string) {
	p.Helper()
	p.podman("restart", "--time", "0", "a")
	p.answers(p.outside, nodeAddr+":18090", "a asked by "+outsideAddr)
	if got := p.attached("blue", a).addr(); got != "10.61.0.77" {
		p.Errorf("seam ls: %s after a restart", got)
	}
	dels := p.calls("DEL", a)
	if len(dels) != 1 || dels[0].NetNS == "" || len(dels[0].Config.PrevResult) == 0 {
		p.Errorf("DEL: %+v, want one with a namespace and a result", dels)
	}
}

// diesAlone kills a container: Podman's monitor cleans up, and there is no attachment
// although there is a container.
func (p *podman) diesAlone(b string) {
	p.Helper()
	p.kill(p.podman("inspect", "--format", "{{.State.Pid}}", "b"))
	p.eventually(func() error {
		if n := len(p.calls("DEL", b)); n != 1 {
			return fmt.Errorf("DEL of a killed container came %d times", n)
		}
		for _, a := range p.attachments("blue") {
			if a.ContainerID == b {
				return fmt.Errorf("seam ls: %+v after the container was killed", a)
			}
		}
		return nil
	})
}
