package engine_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seamnet/seam/docker/engine"
	"golang.org/x/sys/unix"
)

// dockerd is an engine in the test's host.
type dockerd struct {
	*testing.T
	*engine.Client
	cli, host string
}

// start starts the engine and returns when it answers. Without it the test is skipped.
func start(t *testing.T, daemon, cli string, flags ...string) *dockerd {
	t.Helper()
	for _, program := range []string{daemon, cli, "/bin/busybox"} {
		if _, err := os.Stat(program); err != nil {
			t.Skipf("needs Docker: %v", err)
		}
	}
	// The host's own sysfs hides the control groups, which containers want.
	if err := unix.Unmount("/sys", unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	d := &dockerd{T: t, cli: cli, host: "unix://" + dir + "/docker.sock"}
	var err error
	if d.Client, err = engine.New(d.host); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	group := fmt.Sprintf("seam-test-%d", os.Getpid())
	d.run(daemon, dir, append(flags, "--cgroup-parent", "/"+group))
	t.Cleanup(func() { removeGroups(group) })
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if _, err = d.Endpoints(t.Context(), "none"); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	d.load()
	return d
}

// run runs the daemon until the test ends.
func (d *dockerd) run(daemon, dir string, flags []string) {
	d.Helper()
	config := filepath.Join(dir, "daemon.json")
	if err := os.WriteFile(config, []byte("{}"), 0o600); err != nil {
		d.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command(daemon, append([]string{
		"--log-level", "warn", "--host", d.host, "--data-root", dir + "/data", "--exec-root", "/run/docker", "--pidfile", "/run/docker.pid", "--config-file", config,
		"--bridge=none", "--iptables=false", "--ip6tables=false", "--userland-proxy=false", "--storage-driver=vfs",
		"--exec-opt", "native.cgroupdriver=cgroupfs", "--default-ulimit", "nofile=1024:4096", "--default-ulimit", "nproc=1024:4096",
	}, flags...)...)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		d.Fatal(err)
	}
	d.Cleanup(func() {
		_ = cmd.Process.Signal(unix.SIGTERM)
		_ = cmd.Wait()
		if d.Failed() {
			d.Log(log.String())
		}
	})
}

// removeGroups removes the control groups that the containers were in.
func removeGroups(group string) {
	v1, _ := filepath.Glob("/sys/fs/cgroup/*/" + group)
	for _, dir := range append(v1, "/sys/fs/cgroup/"+group) {
		_ = os.Remove(dir)
	}
}

// load gives the engine an image with busybox.
func (d *dockerd) load() {
	d.Helper()
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		d.Fatal(err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Name: "bin/busybox", Mode: 0o755, Size: int64(len(busybox))}); err != nil {
		d.Fatal(err)
	}
	if _, err := w.Write(busybox); err != nil {
		d.Fatal(err)
	}
	if err := w.Close(); err != nil {
		d.Fatal(err)
	}
	cmd := exec.Command(d.cli, "--host", d.host, "import", "-", "bb:1")
	cmd.Stdin = &layer
	if out, err := cmd.CombinedOutput(); err != nil {
		d.Fatalf("%v: %s", err, out)
	}
	if _, err := d.try("run", "--rm", "--network", "none", "bb:1", "/bin/busybox", "true"); err != nil {
		d.Skipf("this machine runs no containers: %v", err)
	}
}

// try runs a command of the client, and returns what it says without its warnings.
func (d *dockerd) try(args ...string) (string, error) {
	var said, warned bytes.Buffer
	cmd := exec.Command(d.cli, append([]string{"--host", d.host}, args...)...)
	cmd.Stdout, cmd.Stderr = &said, &warned
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", strings.Join(args, " "), err, warned.String())
	}
	return strings.TrimSpace(said.String()), nil
}

// docker is try for what must succeed.
func (d *dockerd) docker(args ...string) string {
	d.Helper()
	out, err := d.try(args...)
	if err != nil {
		d.Fatal(err)
	}
	return out
}

// sleep starts a container that does nothing, and returns its ID.
func (d *dockerd) sleep(name string, flags ...string) string {
	d.Helper()
	args := append([]string{"run", "--detach", "--name", name}, flags...)
	return d.docker(append(args, "bb:1", "/bin/busybox", "sleep", "1000")...)
}
