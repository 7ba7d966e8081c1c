package runtimes

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// An engine is a version of Docker's daemon, with a client that it speaks to.
type engine struct {
	name           string // "20.10", "28.5.2" or "29"
	daemon, client string
}

// distribution is the engine of Debian 12; others are built by "make engines".
const distribution = "20.10"

// enginesKey is the variable that says which engines are to be tested: names with commas
// between, or "all".
const enginesKey = "SEAM_TEST_ENGINES"

// engines returns the engines that are to be tested, be they installed or not.
func engines(t *testing.T) []engine {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	cache = filepath.Join(cache, "seam", "engines")
	known := []engine{
		{distribution, "/usr/sbin/dockerd", "/usr/bin/docker"},
		{"28.5.2", filepath.Join(cache, "dockerd-28.5.2"), filepath.Join(cache, "docker-28.5.2")},
		{"29", filepath.Join(cache, "dockerd-29"), filepath.Join(cache, "docker-28.5.2")},
	}
	wanted := os.Getenv(enginesKey)
	switch wanted {
	case "":
		wanted = distribution
	case "all":
		return known
	}
	var chosen []engine
	for name := range strings.SplitSeq(wanted, ",") {
		i := slices.IndexFunc(known, func(e engine) bool { return e.name == name })
		if i < 0 {
			t.Fatalf("%s: no engine %q", enginesKey, name)
		}
		chosen = append(chosen, known[i])
	}
	return chosen
}

// onEngines runs the body of a top-level test on a node for each engine that is to be
// tested, as a test of the engine's name below it.
func onEngines(t *testing.T, body func(d *docker)) {
	t.Helper()
	t.Parallel()
	for _, e := range engines(t) {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			if !exists(e.daemon) || !exists(e.client) {
				t.Skipf("needs Docker %s: %s and %s, which apt's docker.io or \"make engines\" brings", e.name, e.daemon, e.client)
			}
			onNode(t, func(n *node) { body(n.startDocker(e)) })
		})
	}
}

// docker is an engine that runs on a node, and the driver that it calls.
type docker struct {
	*node
	engine     engine
	containerd *containerd
	flags      []string // of the daemon, beside those of startDocker
	process    *exec.Cmd

	driver      *exec.Cmd // seamd; nil: it does not run
	driverName  string
	driverFlags []string // of seamd, beside those of startSeamd
}

// startDocker starts the engine, beside a containerd of its own, and gives it the image.
// Where the machine refuses containers the test is skipped.
func (n *node) startDocker(e engine) *docker {
	n.Helper()
	d := &docker{node: n, engine: e, containerd: n.containerd(), driverName: "seam"}
	d.start()
	n.Cleanup(func() {
		d.kill9()
		if n.Failed() {
			n.Log(contents(filepath.Join(n.dir, "dockerd.log")))
		}
	})
	d.docker("load", "--input", n.images())
	if _, err := d.tryDocker("run", "--rm", "--network", "none", image, "true"); err != nil {
		n.Skipf("this machine runs no containers: %v", err)
	}
	return d
}

func (d *docker) socket() string { return filepath.Join(d.dir, "docker.sock") }

// start starts the daemon, on the data that it had, and waits until it answers.
func (d *docker) start() {
	d.Helper()
	d.startAlone()
	d.up()
}

// startAlone starts the daemon without waiting for it.
func (d *docker) startAlone() {
	d.Helper()
	log, err := os.OpenFile(filepath.Join(d.dir, "dockerd.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	d.must(err)
	defer log.Close()
	args := []string{
		"--host", "unix://" + d.socket(), "--data-root", filepath.Join(d.dir, "docker"), "--exec-root", "/run/docker",
		"--pidfile", "/run/docker.pid", "--config-file", d.write("daemon.json", "{}"),
		"--containerd", "/run/containerd/containerd.sock", "--cgroup-parent", d.cgroup, "--exec-opt", "native.cgroupdriver=cgroupfs",
		"--default-ulimit", "nofile=1024:4096", "--default-ulimit", "nproc=1024:4096",
		"--bridge", "none", "--iptables=false", "--ip6tables=false", "--userland-proxy=false", "--storage-driver", "vfs",
	}
	switch d.engine.name {
	case "28.5.2":
		args = append(args, "--feature", "containerd-snapshotter=false")
	case "29":
		args = append(args, "--feature", "containerd-snapshotter=false", "--feature", "time-namespaces=false")
	}
	d.process = exec.Command(d.engine.daemon, append(args, d.flags...)...)
	d.process.Stdout, d.process.Stderr = log, log
	d.must(d.process.Start())
}

// up waits until the daemon answers.
func (d *docker) up() {
	d.Helper()
	d.patiently(func() error {
		_, err := d.tryDocker("version")
		return err
	})
}

// patiently is eventually for what engines take long for: they wait for drivers.
func (d *docker) patiently(what func() error) {
	d.Helper()
	var err error
	for end := time.Now().Add(longest); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err = what(); err == nil {
			return
		}
	}
	d.Fatal(err)
}

// kill9 ends the daemon as a power failure would: containers live on without it.
func (d *docker) kill9() {
	d.Helper()
	d.end(unix.SIGKILL)
}

// stop ends the daemon, which ends its containers first if it was not told otherwise.
func (d *docker) stop() {
	d.Helper()
	d.end(unix.SIGTERM)
}

func (d *docker) end(signal unix.Signal) {
	d.Helper()
	if d.process == nil {
		return
	}
	d.must(d.process.Process.Signal(signal))
	_ = d.process.Wait() // says that it was killed
	d.process = nil
	if signal == unix.SIGKILL {
		_ = os.Remove("/run/docker.pid") // in a node another may have that number soon
	}
}

func (d *docker) tryDocker(args ...string) (string, error) {
	return d.try(d.engine.client, append([]string{"--host", "unix://" + d.socket()}, args...)...)
}

// docker is tryDocker for what must succeed.
func (d *docker) docker(args ...string) string {
	d.Helper()
	out, err := d.tryDocker(args...)
	d.must(err)
	return strings.TrimSpace(out)
}

// refuses fails unless the engine refuses the command with all of the words.
func (d *docker) refuses(words []string, args ...string) {
	d.Helper()
	out, err := d.tryDocker(args...)
	if err == nil {
		d.Errorf("docker %s: %s, want an error", strings.Join(args, " "), out)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			d.Errorf("docker %s: %v, want %q in it", strings.Join(args, " "), err, word)
		}
	}
}

// atLeast reports whether the engine is of that major version, or a later one.
func (e engine) atLeast(major int) bool {
	var own int
	_, err := fmt.Sscanf(e.name, "%d", &own)
	return err == nil && own >= major
}
