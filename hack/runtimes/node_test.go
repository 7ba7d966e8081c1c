package runtimes

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/plugintest"
	"golang.org/x/sys/unix"
)

const (
	binDir  = "/opt/cni/bin"
	confDir = "/etc/cni/net.d"

	nodeAddr    = "192.0.2.1" // the node's, on the network that outside is on
	outsideAddr = "192.0.2.9"
)

// A node is a machine that runs containers, with Seam installed where runtimes look
// for plugins. It is alone with a neighbour that knows no route to containers:
//
//	outside 192.0.2.9 ── 192.0.2.1 node ── bridges ── containers
type node struct {
	*testing.T
	dir     string // for what programs keep; it is in memory
	outside *netnstest.Pod
	cgroup  string // below which all containers' are, from the root
}

func newNode(t *testing.T) *node {
	t.Helper()
	n := &node{T: t, dir: t.TempDir(), cgroup: fmt.Sprintf("/seam-test-%08x", rand.Uint32())}
	n.mountFolders()
	n.mountCgroups()
	n.must(os.Setenv("HOME", n.dir))
	n.run(built("seam"), "install", "--bin-dir", binDir)
	n.outside = netnstest.NewPod(t, "outside")
	for _, args := range []string{
		"link add up0 type veth peer name eth0 netns outside", "addr add 192.0.2.1/24 dev up0", "link set up0 up",
	} {
		plugintest.Run(t, nil, "ip", strings.Fields(args)...)
	}
	plugintest.Run(t, n.outside, "ip", "addr", "add", outsideAddr+"/24", "dev", "eth0")
	netnstest.Up(t, n.outside.NS, "eth0")
	return n
}

// mountFolders hides the machine's folders that runtimes write to. What is left in
// them goes with the mount namespace.
func (n *node) mountFolders() {
	n.Helper()
	for _, dir := range []string{n.dir, "/opt", "/dev/shm", "/var/lib/containers"} {
		n.must(os.MkdirAll(dir, 0o755))
		n.must(unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"))
	}
	n.Cleanup(func() { n.must(unix.Unmount(n.dir, unix.MNT_DETACH)) })
	for _, dir := range []string{binDir, confDir, "/run/netns"} {
		n.must(os.MkdirAll(dir, 0o755))
	}
	// As ip and Podman make it: a mount that is shared.
	n.must(unix.Mount("/run/netns", "/run/netns", "", unix.MS_BIND, ""))
	n.must(unix.Mount("", "/run/netns", "", unix.MS_SHARED, ""))
}

// need skips the test if a program that it starts is not installed.
func (n *node) need(programs ...string) {
	n.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			n.Skipf("needs %s, which is not installed", p)
		}
	}
}

// longest is how long a program may run that does one thing and ends.
const longest = 30 * time.Second

// try runs a program and returns what it printed to standard output; the error
// holds what it printed otherwise.
func (n *node) try(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	// A child that lives on, as Podman's monitor, may keep the pipes open.
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w\n%s%s", filepath.Base(name), strings.Join(args, " "), err, &out, &errOut)
	}
	return out.String(), nil
}

// run is try for a program that must succeed; it returns the output without space
// around it.
func (n *node) run(name string, args ...string) string {
	n.Helper()
	out, err := n.try(name, args...)
	n.must(err)
	return strings.TrimSpace(out)
}

func (n *node) must(err error) {
	n.Helper()
	if err != nil {
		n.Fatal(err)
	}
}

// eventually waits for what another process does in its own time.
func (n *node) eventually(what func() error) {
	n.Helper()
	var err error
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = what(); err == nil {
			return
		}
	}
	n.Fatal(err)
}

func (n *node) write(file, text string) string {
	n.Helper()
	if !filepath.IsAbs(file) {
		file = filepath.Join(n.dir, file)
	}
	n.must(os.WriteFile(file, []byte(text), 0o600))
	return file
}
