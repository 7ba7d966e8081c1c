package runtimes

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// example copies a file of examples/oci, with the program that is tested in it, and
// returns the copy's path.
func (n *node) example(name string) string {
	n.Helper()
	text, err := os.ReadFile(filepath.Join("../../examples/oci", name))
	n.must(err)
	if !strings.Contains(string(text), "/usr/local/bin/seam") {
		n.Fatalf("%s does not name the program", name)
	}
	file := filepath.Join(n.dir, "examples", name)
	n.must(os.MkdirAll(filepath.Dir(file), 0o755))
	n.must(os.WriteFile(file, []byte(strings.ReplaceAll(string(text), "/usr/local/bin/seam", built("seam"))), 0o755))
	return file
}

const hookPodmanConf = `[network]
network_backend = "cni"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[containers]
default_ulimits = ["nofile=1024:4096", "nproc=1024:4096"]
`

// TestPodmanHook: the files of examples/oci/hooks.d give networks to containers of
// Podman that have none.
func TestPodmanHook(t *testing.T) {
	t.Parallel()
	onNode(t, func(n *node) {
		n.need("podman", "runc")
		n.network(frontNetwork)
		conf := n.write("hook-containers.conf", hookPodmanConf)
		hooks := filepath.Dir(n.example("hooks.d/seam-createRuntime.json"))
		n.example("hooks.d/seam-poststop.json")
		podman := func(args ...string) (string, error) {
			own := []string{"CONTAINERS_CONF=" + conf, "podman", "--root", n.dir + "/podman", "--runroot", "/run/podman-test", "--tmpdir", n.dir + "/tmp", "--hooks-dir", hooks}
			return n.try("env", append(own, args...)...)
		}
		_, err := podman("load", "-i", n.images())
		n.must(err)
		run := func(name string, more ...string) error {
			args := append([]string{"run", "-d", "--name", name, "--network", "none", "--cgroup-parent", "/" + n.cgroup, "--env", "NAME=" + name}, more...)
			_, err := podman(append(args, image, "httpd", "-f", "-h", "/www")...)
			return err
		}
		if err := run("probe"); err != nil {
			n.Skipf("this machine runs no containers: %v", err)
		}
		_, err = podman("rm", "-f", "-t", "0", "probe")
		n.must(err)

		n.must(run("web", "--annotation", "seam.network=front", "--annotation", "seam.ports=18083:80"))
		n.answers(n.outside, nodeAddr+":18083", "web asked by "+outsideAddr)
		if list := n.attachments("front"); len(list) != 1 {
			t.Errorf("seam ls: %+v, want one attachment", list)
		}
		if err := run("typo", "--annotation", "seam.networks=front"); err == nil || !strings.Contains(err.Error(), "annotation seam.network: missing") {
			t.Errorf("podman does not say why: %v", err)
		}
		_, err = podman("rm", "-f", "-t", "0", "web", "typo")
		n.must(err)
		n.closed(n.outside, nodeAddr+":18083")
		if list := n.attachments("front"); len(list) != 0 {
			t.Errorf("seam ls: %+v, want nothing", list)
		}
	})
}

// TestRuntimeEntryHook: examples/oci/seam-runc is called by containerd's shim as Docker
// has it called, and gives networks to containers that have none.
func TestRuntimeEntryHook(t *testing.T) {
	t.Parallel()
	onNode(t, func(n *node) {
		n.need("jq")
		n.startContainerd("default")
		n.network(frontNetwork)
		run := []string{"run", "--detach", "--runc-binary", n.example("seam-runc"), "--cgroup", n.cgroup + "/web", "--env", "NAME=web",
			"--annotation", "seam.network=front", "--annotation", "seam.ports=18084:80"}
		n.run("ctr", append(run, image, "web", "httpd", "-f", "-h", "/www")...)
		n.answers(n.outside, nodeAddr+":18084", "web asked by "+outsideAddr)
		n.attached("front", "web")
		n.sound()
		n.run("ctr", "task", "rm", "--force", "web")
		n.run("ctr", "container", "rm", "web")
		n.closed(n.outside, nodeAddr+":18084")
		if list := n.attachments("front"); len(list) != 0 {
			t.Errorf("seam ls: %+v, want nothing", list)
		}
	})
}
