package runtimes

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// crictl speaks to containerd as a kubelet does.
type crictl struct {
	*containerd
	program string
}

// crictlKey is the variable that says where crictl is, if not where "make crictl"
// puts it.
const crictlKey = "SEAM_CRICTL"

func (n *node) crictl() *crictl {
	n.Helper()
	program := n.crictlProgram()
	return &crictl{n.startContainerd("k8s.io"), program}
}

// crictlProgram skips the test if there is none.
func (n *node) crictlProgram() string {
	n.Helper()
	program := os.Getenv(crictlKey)
	if program == "" {
		program, _ = filepath.Abs("../../.cache/crictl/crictl")
	}
	if !exists(program) {
		n.Skipf("needs crictl: make crictl builds it, %s names another", crictlKey)
	}
	return program
}

func (c *crictl) try(args ...string) (string, error) {
	const socket = "unix:///run/containerd/containerd.sock"
	return c.node.try(c.program, append([]string{"--runtime-endpoint", socket, "--image-endpoint", socket, "--timeout", "20s"}, args...)...)
}

// cri is try for what must succeed.
func (c *crictl) cri(args ...string) string {
	c.Helper()
	out, err := c.try(args...)
	c.must(err)
	return strings.TrimSpace(out)
}

// ready waits until containerd has read the network and recovered what it kept.
func (c *crictl) ready() {
	c.Helper()
	c.eventually(func() error {
		out, err := c.try("info")
		if err != nil {
			return err
		}
		var info struct {
			Status struct {
				Conditions []struct {
					Type   string
					Status bool
				}
			}
		}
		if err := json.Unmarshal([]byte(out), &info); err != nil {
			return err
		}
		for _, condition := range info.Status.Conditions {
			if !condition.Status {
				return fmt.Errorf("containerd: not %s", condition.Type)
			}
		}
		return nil
	})
}

// A pod is what runs in one namespace: here, a web server.
type pod struct {
	*crictl
	id, container string
}

// A podConfig is what a kubelet asks for.
type podConfig struct {
	name        string
	hostPort    int // of the web server; 0: none
	annotations map[string]string
}

func (c *crictl) runPod(conf podConfig) *pod {
	c.Helper()
	sandbox := map[string]any{
		"metadata":      map[string]any{"name": conf.name, "namespace": "default", "uid": "uid-" + conf.name},
		"hostname":      conf.name,
		"log_directory": c.dir,
		"annotations":   conf.annotations,
		"dns_config":    map[string]any{"servers": []string{"192.0.2.53"}, "searches": []string{"example.org"}},
		"linux":         map[string]any{"cgroup_parent": c.cgroup},
	}
	if conf.hostPort != 0 {
		sandbox["port_mappings"] = []any{map[string]any{"container_port": 80, "host_port": conf.hostPort}}
	}
	podFile := c.write(conf.name+".pod.json", string(encode(sandbox)))
	containerFile := c.write(conf.name+".json", string(encode(map[string]any{
		"metadata": map[string]any{"name": "web"}, "image": map[string]any{"image": image},
		"command": []string{"httpd", "-f", "-h", "/www"}, "envs": []any{map[string]any{"key": "NAME", "value": conf.name}},
		"log_path": conf.name + ".log", "linux": map[string]any{},
	})))
	p := &pod{crictl: c, id: c.cri("runp", podFile)}
	p.container = c.cri("create", p.id, containerFile, podFile)
	c.cri("start", p.container)
	return p
}

func (p *pod) exec(args ...string) string {
	p.Helper()
	return p.cri(append([]string{"exec", "--sync", p.container}, args...)...)
}

// addr returns the address that containerd tells a kubelet.
func (p *pod) addr() string {
	p.Helper()
	var inspected struct {
		Status struct{ Network struct{ IP string } }
	}
	p.must(json.Unmarshal([]byte(p.cri("inspectp", p.id)), &inspected))
	return inspected.Status.Network.IP
}

// remove stops and removes the pod.
func (p *pod) remove() {
	p.Helper()
	p.cri("stopp", p.id)
	p.cri("rmp", p.id)
}

func port(host string, number int) string {
	return strings.Join([]string{host, strconv.Itoa(number)}, ":")
}
