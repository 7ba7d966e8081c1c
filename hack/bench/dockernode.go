package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// A DockerNode is a machine on which Docker's engine and Seam's driver run: network,
// mount and process namespaces of their own.
type DockerNode struct {
	Engine   dockerEngine
	Proxy    bool   // the engine's --userland-proxy
	Programs string // folder of seam and seamd
	Cgroup   string // below which all containers' are
	Plan     DockerPlan
}

// A DockerReport is what a node prints when it has done.
type DockerReport struct {
	Error   string `json:",omitempty"`
	Samples []DockerSample
	Calls   []DockerCall
}

// nodeVariable holds, for a process that is to be a node, which.
const nodeVariable = "SEAM_BENCH_NODE"

// asNode carries out the plan of a node, if this process is to be one, and reports
// whether it was.
func asNode(out io.Writer) bool {
	conf, ok := os.LookupEnv(nodeVariable)
	if !ok {
		return false
	}
	if os.Getpid() == 1 {
		os.Exit(initNode())
	}
	report := &DockerReport{}
	n := &node{report: report}
	err := json.Unmarshal([]byte(conf), &n.DockerNode)
	if err == nil {
		err = n.carryOut(context.Background())
	}
	if err != nil {
		report = &DockerReport{Error: err.Error()}
	}
	json.NewEncoder(out).Encode(report)
	return true
}

// initNode is process 1 of a node: it starts the node's own and buries who loses his
// parent, as shims do. It returns the exit code.
func initNode() int {
	// From here nothing of the node shows in the machine's mounts.
	err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	if err == nil {
		err = unix.Mount("proc", "/proc", "proc", 0, "")
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args[0] = os.Args[0]
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: node:", err)
		return 1
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if err == nil && pid == cmd.Process.Pid {
			return status.ExitStatus()
		}
	}
}

// node is what a node has.
type node struct {
	DockerNode
	report *DockerReport
	dir    string // for what programs keep; it is in memory
	api    *dockerAPI
	log    driverLog
}

const (
	nodeDir    = "/run/bench"
	confDir    = "/etc/cni/net.d"
	pluginsDir = "/opt/cni/bin"
)

func (n *node) carryOut(ctx context.Context) error {
	n.dir = nodeDir
	if err := n.furnish(); err != nil {
		return err
	}
	if err := n.start(ctx); err != nil {
		return err
	}
	if err := n.networks(ctx); err != nil {
		return err
	}
	return n.measure(ctx)
}

// furnish keeps what is done here from the machine's own files.
func (n *node) furnish() error {
	if err := furnish(); err != nil {
		return err
	}
	for _, dir := range []string{"/opt", "/etc/cni", "/var/lib/seam", "/var/lib/docker"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
			return &os.PathError{Op: "mount tmpfs", Path: dir, Err: err}
		}
	}
	for _, dir := range []string{n.dir, confDir, pluginsDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	return n.mountSys()
}

// mountSys mounts the /sys of the node's own network namespace, the machine's control
// groups in it.
func (n *node) mountSys() error {
	const cgroups = "/sys/fs/cgroup"
	aside := filepath.Join(n.dir, "cgroup")
	if err := os.Mkdir(aside, 0o755); err != nil {
		return err
	}
	// What furnish has mounted hides the control groups.
	if err := unix.Unmount("/sys", unix.MNT_DETACH); err != nil {
		return &os.PathError{Op: "unmount", Path: "/sys", Err: err}
	}
	for _, m := range []struct {
		from, to, kind string
		flags          uintptr
	}{
		{cgroups, aside, "", unix.MS_BIND | unix.MS_REC},
		{"sysfs", "/sys", "sysfs", 0},
		{aside, cgroups, "", unix.MS_BIND | unix.MS_REC},
	} {
		if err := unix.Mount(m.from, m.to, m.kind, m.flags, ""); err != nil {
			return &os.PathError{Op: "mount " + m.from, Path: m.to, Err: err}
		}
	}
	return unix.Unmount(aside, unix.MNT_DETACH)
}

// start starts containerd, the engine and Seam's driver, which end with the node, and
// loads the image.
func (n *node) start(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, filepath.Join(n.Programs, "seam"), "install", "--bin-dir", pluginsDir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("seam install: %w: %s", err, out)
	}
	if err := n.startContainerd(ctx); err != nil {
		return err
	}
	// The configuration, so that the machine's is not read.
	if err := os.WriteFile(filepath.Join(n.dir, "daemon.json"), []byte("{}"), 0o600); err != nil {
		return err
	}
	if err := n.daemon("dockerd", n.Engine.Daemon, n.engineFlags()...); err != nil {
		return err
	}
	n.log = driverLog{file: filepath.Join(n.dir, "seamd.log")}
	if err := n.daemon("seamd", filepath.Join(n.Programs, "seamd"), "docker", "--engine", "unix://"+n.socket(),
		"--log-level", "debug", "--log-format", "json"); err != nil {
		return err
	}
	n.api = newDockerAPI(n.socket())
	if err := await(ctx, "engine", func() error { return n.api.ping(ctx) }); err != nil {
		return fmt.Errorf("%w\n%s", err, n.tail("dockerd"))
	}
	return n.api.load(ctx, dockerImage)
}

func (n *node) startContainerd(ctx context.Context) error {
	config := filepath.Join(n.dir, "containerd.toml")
	text := fmt.Sprintf("version = 2\nroot = %q\nstate = \"/run/containerd\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n",
		filepath.Join(n.dir, "containerd"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	if err := n.daemon("containerd", "containerd", "--config", config); err != nil {
		return err
	}
	return await(ctx, "containerd", func() error {
		_, err := os.Stat("/run/containerd/containerd.sock")
		return err
	})
}

func (n *node) socket() string { return filepath.Join(n.dir, "docker.sock") }

// engineFlags leave all as it comes, but where files are.
func (n *node) engineFlags() []string {
	return append([]string{
		"--host", "unix://" + n.socket(), "--data-root", "/var/lib/docker", "--exec-root", "/run/docker",
		"--pidfile", "/run/docker.pid", "--config-file", filepath.Join(n.dir, "daemon.json"),
		"--containerd", "/run/containerd/containerd.sock", "--cgroup-parent", n.Cgroup, "--exec-opt", "native.cgroupdriver=cgroupfs",
		"--userland-proxy-path", n.Engine.Proxy, fmt.Sprintf("--userland-proxy=%t", n.Proxy),
	}, n.Engine.Flags...)
}

// daemon starts a program in the background; what it says is in a file of that name.
func (n *node) daemon(name, program string, args ...string) error {
	log, err := os.OpenFile(filepath.Join(n.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	go cmd.Wait() // if it ends, what is asked of it says so
	return nil
}

// tail returns the end of what a daemon said.
func (n *node) tail(name string) string {
	const enough = 4 << 10
	text, _ := os.ReadFile(filepath.Join(n.dir, name+".log"))
	return string(text[max(0, len(text)-enough):])
}

// await waits until there is no error.
func await(ctx context.Context, what string, ready func() error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 20*time.Second, errors.New("not within 20 s"))
	defer cancel()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w: %w", what, context.Cause(ctx), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (n *node) say(format string, args ...any) {
	proxy := ""
	if !n.Proxy {
		proxy = ", no proxy"
	}
	fmt.Fprintf(os.Stderr, "Docker %s%s: %s\n", n.Engine.Name, proxy, fmt.Sprintf(format, args...))
}
