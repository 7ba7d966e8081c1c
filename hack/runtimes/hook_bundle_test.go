package runtimes

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// An ociRuntime is runc or crun, without anything above it.
type ociRuntime struct {
	*node
	name string
	args []string
}

// ociRuntime prepares a runtime; where it runs no containers the test is skipped.
func (n *node) ociRuntime(name string) *ociRuntime {
	n.Helper()
	n.need(name, "busybox")
	rt := &ociRuntime{n, name, []string{"--root", filepath.Join(n.dir, name)}}
	if name == "crun" { // it wants version 2 alone, or no control groups
		n.must(unix.Mount("cgroup2", cgroupDir, "cgroup2", 0, ""))
		n.Cleanup(func() { n.must(unix.Unmount(cgroupDir, unix.MNT_DETACH)) })
		rt.args = append(rt.args, "--cgroup-manager=disabled")
	}
	probe := rt.bundle(bundle{name: "probe"})
	if err := errors.Join(rt.create(probe, "probe"), rt.try("start", "probe")); err != nil {
		n.Skipf("this machine runs no containers: %v", err)
	}
	rt.must(rt.try("delete", "--force", "probe"))
	return rt
}

// A bundle is what a container is made of; its web server says who it is.
type bundle struct {
	name        string
	annotations map[string]string
	namespaces  []any // beside its own of mounts and processes; nil: network
}

func (rt *ociRuntime) bundle(b bundle) string {
	rt.Helper()
	dir := filepath.Join(rt.dir, "bundle-"+b.name)
	rt.rootfs(filepath.Join(dir, "rootfs"))
	if b.namespaces == nil {
		b.namespaces = []any{map[string]string{"type": "network"}}
	}
	for _, kind := range []string{"mount", "pid"} {
		b.namespaces = append(b.namespaces, map[string]string{"type": kind})
	}
	capabilities := []string{"CAP_NET_BIND_SERVICE"}
	var example map[string]any
	rt.must(json.Unmarshal([]byte(contents(rt.example("bundle-hooks.json"))), &example))
	rt.write(filepath.Join(dir, "config.json"), string(encode(map[string]any{
		"ociVersion": "1.0.2",
		"process": map[string]any{
			"args": []string{"/bin/httpd", "-f", "-h", "/www"}, "cwd": "/", "env": []string{"PATH=/bin", "NAME=" + b.name},
			"user":         map[string]int{"uid": 0, "gid": 0},
			"capabilities": map[string][]string{"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
			"rlimits":      []any{map[string]any{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}},
		},
		"root":        map[string]string{"path": "rootfs"},
		"mounts":      []any{map[string]string{"destination": "/proc", "type": "proc", "source": "proc"}},
		"annotations": b.annotations,
		"hooks":       example["hooks"],
		"linux":       map[string]any{"namespaces": b.namespaces, "cgroupsPath": "/" + rt.cgroup + "/" + b.name},
	})))
	return dir
}

// rootfs makes a container's files.
func (n *node) rootfs(dir string) {
	n.Helper()
	for _, sub := range []string{"bin", "dev", "proc", "www/cgi-bin"} {
		n.must(os.MkdirAll(filepath.Join(dir, sub), 0o755))
	}
	busybox, err := exec.LookPath("busybox")
	n.must(err)
	program, err := os.ReadFile(busybox)
	n.must(err)
	n.must(os.WriteFile(filepath.Join(dir, "bin/busybox"), program, 0o755))
	for _, name := range applets {
		n.must(os.Symlink("busybox", filepath.Join(dir, "bin", name)))
	}
	n.must(os.WriteFile(filepath.Join(dir, "www/cgi-bin/whoami"), []byte(whoami), 0o755))
}

// create makes a container; its output, which the container keeps open, goes to a file.
func (rt *ociRuntime) create(dir, id string) error {
	rt.Helper()
	log, err := os.Create(filepath.Join(dir, "log"))
	rt.must(err)
	defer log.Close()
	cmd := exec.Command(rt.name, append(rt.args, "create", "--bundle", dir, id)...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s create: %w\n%s", rt.name, err, contents(log.Name()))
	}
	return nil
}

// up makes a container and starts it.
func (rt *ociRuntime) up(b bundle) {
	rt.Helper()
	rt.must(rt.create(rt.bundle(b), b.name))
	rt.must(rt.try("start", b.name))
}

func (rt *ociRuntime) try(args ...string) error {
	_, err := rt.node.try(rt.name, append(rt.args, args...)...)
	return err
}

// inside runs a program in a container and returns what it prints.
func (rt *ociRuntime) inside(id string, command ...string) string {
	rt.Helper()
	return rt.run(rt.name, append(append(rt.args, "exec", id), command...)...)
}

// pid returns the container's first process.
func (rt *ociRuntime) pid(id string) string {
	rt.Helper()
	_, after, _ := strings.Cut(rt.run(rt.name, append(rt.args, "state", id)...), `"pid":`)
	digits, _, _ := strings.Cut(after, ",")
	return strings.TrimSpace(digits)
}
