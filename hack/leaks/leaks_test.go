// Package leaks attaches and detaches many containers, with failures and kills at
// random moments, and compares the host before and after to the byte.
package leaks

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/all"
	"github.com/seamnet/seam/plugin/plugintest"
)

var seed = flag.Uint64("seed", uint64(time.Now().UnixNano()), "of the random moments; a failing run prints its own")

const conflist = `{
  "cniVersion": "1.1.0",
  "name": "leaks",
  "plugins": [
    {"type": "bridge", "bridge": "leaks0", "isDefaultGateway": true, "ipMasq": true, "macspoofchk": true,
     "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.77.0.0/20"}], [{"subnet": "fd00:77::/64"}]]}},
    {"type": "portmap", "capabilities": {"portMappings": true}},
    {"type": "flaky"}
  ]
}`

const atOnce = 16

// TestMain lets this binary be the chained plugin "flaky": it fails for containers
// whose ID says so.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "flaky" {
		os.Exit(wire.Serve(context.Background(), flaky{}, wire.Call{
			Env: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
			Plugins: func([]string) cni.Finder { return cni.Registry{} },
		}))
	}
	os.Exit(m.Run())
}

type flaky struct{}

func (flaky) Add(_ context.Context, r *cni.Request) (*cni.Result, error) {
	if strings.HasSuffix(r.ContainerID, "-fails") {
		return nil, errors.New("flaky: fails as its container's name says")
	}
	return r.Prev, nil
}
func (flaky) Check(context.Context, *cni.Request) error  { return nil }
func (flaky) Del(context.Context, *cni.Request) error    { return nil }
func (flaky) GC(context.Context, *cni.Request) error     { return nil }
func (flaky) Status(context.Context, *cni.Request) error { return nil }

// host is what one test works on.
type host struct {
	*testing.T
	bin, conf string
	seam      string // the program
	network   *seam.Network
	inside    seam.Runtime // built-ins in process
	executed  seam.Runtime // everything executed
}

func setup(t *testing.T) *host {
	t.Helper()
	dir := t.TempDir()
	h := &host{T: t, bin: filepath.Join(dir, "bin"), conf: filepath.Join(dir, "net.d"), seam: filepath.Join(dir, "seam")}
	build := exec.Command("go", "build", "-o", h.seam, "github.com/seamnet/seam/cmd/seam")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := errors.Join(os.Mkdir(h.bin, 0o755), os.Mkdir(h.conf, 0o755)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bridge", "host-local", "portmap"} {
		if err := os.Link(h.seam, filepath.Join(h.bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(h.bin, "flaky")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(h.conf, "10-leaks.conflist")
	if err := os.WriteFile(file, []byte(conflist), 0o600); err != nil {
		t.Fatal(err)
	}
	if h.network, err = seam.Load(h.conf, "leaks"); err != nil {
		t.Fatal(err)
	}
	kernel := plugin.NewHost(plugin.DefaultDirs)
	t.Cleanup(func() { kernel.Close() })
	dirs := []string{h.bin}
	// To the first, the files in bin are Seam's own; the second knows no built-ins.
	h.inside = seam.Runtime{Plugins: wire.Path{Dirs: dirs, Builtins: all.Registry(kernel), Self: h.seam}}
	h.executed = seam.Runtime{Plugins: wire.Path{Dirs: dirs}}
	return h
}

func (h *host) container(id string, n int) seam.Container {
	ports := fmt.Sprintf(`[{"hostPort":%d,"containerPort":80,"protocol":"tcp"},{"hostPort":%d,"containerPort":53,"protocol":"udp"}]`, 20000+n, 20000+n)
	return seam.Container{ID: id, IfName: "eth0", NetNS: "/run/netns/" + id, Capabilities: map[string]json.RawMessage{"portMappings": json.RawMessage(ports)}}
}

var pods = regexp.MustCompile(`src=10\.77\.[0-9]+\.[0-9]+`)

// state is all that may not grow: kernel and files.
func (h *host) state() string {
	h.Helper()
	var b strings.Builder
	b.WriteString(plugintest.State(h))
	for line := range strings.Lines(plugintest.Run(h, nil, "conntrack", "-L")) {
		// What led to a pod. What a client sent to a port that nobody had published, and
		// the kernel's own multicast, come and go by themselves.
		if slices.ContainsFunc(pods.FindAllString(line, -1), func(src string) bool { return src != "src=10.77.0.1" }) {
			b.WriteString(line)
		}
	}
	for _, dir := range []string{"/var/lib/cni", "/run"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			if strings.HasPrefix(d.Name(), "last_reserved_ip.") { // the cursor moves on
				data = nil
			}
			fmt.Fprintf(&b, "%s: %s\n", path, data)
			return err
		})
		if err != nil {
			h.Fatal(err)
		}
	}
	return b.String()
}

// settled waits until what dies in the background, the links of dead namespaces, is
// gone, and returns the state; want is what is hoped for.
func (h *host) settled(want string) string {
	h.Helper()
	got := h.state()
	for range 100 {
		if got == want {
			break
		}
		time.Sleep(100 * time.Millisecond)
		got = h.state()
	}
	return got
}

func (h *host) pod(id string) {
	h.Helper()
	ns, err := netns.NewAt("/run/netns/" + id)
	if err != nil {
		h.Error(err)
		return
	}
	ns.Close()
}

// each calls do for 0 to n-1, some at a time.
func each(n int, do func(i int)) {
	var wait sync.WaitGroup
	places := make(chan struct{}, atOnce)
	for i := range n {
		places <- struct{}{}
		wait.Go(func() {
			defer func() { <-places }()
			do(i)
		})
	}
	wait.Wait()
}

func (h *host) warmUp() string {
	h.Helper()
	h.pod("warm")
	ctx := context.Background()
	if _, err := h.inside.Attach(ctx, h.network, h.container("warm", 0)); err != nil {
		h.Fatal(err)
	}
	if err := h.inside.Detach(ctx, h.network, h.container("warm", 0)); err != nil {
		h.Fatal(err)
	}
	if err := netns.Remove("/run/netns/warm"); err != nil {
		h.Fatal(err)
	}
	return h.state()
}

func TestAttachAndDetachLeaveNothing(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h := setup(t)
		before := h.warmUp()
		const n = 200
		ctx := context.Background()
		each(n, func(i int) {
			id := fmt.Sprintf("c%d", i)
			h.pod(id)
			rt := &h.inside
			if i%4 == 0 {
				rt = &h.executed
			}
			if _, err := rt.Attach(ctx, h.network, h.container(id, i)); err != nil {
				t.Errorf("attach %s: %v", id, err)
			}
			h.talk(i)
		})
		each(n, func(i int) {
			id := fmt.Sprintf("c%d", i)
			if err := h.inside.Detach(ctx, h.network, h.container(id, i)); err != nil {
				t.Errorf("detach %s: %v", id, err)
			}
			if err := netns.Remove("/run/netns/" + id); err != nil {
				t.Error(err)
			}
		})
		if diff := cmp.Diff(before, h.settled(before)); diff != "" {
			t.Errorf("state (-before +after):\n%s", diff)
		}
	})
}

func TestFailuresAndKillsLeaveNothing(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		t.Logf("repeat with -args -seed=%d", *seed)
		h := setup(t)
		before := h.warmUp()
		const n = 500
		stop := h.killChildren(rand.New(rand.NewPCG(*seed, 1)))
		outcomes := make([]bool, n)
		each(n, func(i int) {
			random := rand.New(rand.NewPCG(*seed, uint64(i)))
			id := fmt.Sprintf("c%d", i)
			if random.IntN(5) == 0 {
				id += "-fails"
			}
			h.pod(id)
			outcomes[i] = h.live(random, id, i) == nil
			if err := netns.Remove("/run/netns/" + id); err != nil {
				t.Error(err)
			}
		})
		stop()
		succeeded := 0
		for _, ok := range outcomes {
			if ok {
				succeeded++
			}
		}
		t.Logf("%d of %d were attached", succeeded, n)
		if succeeded == 0 || succeeded == n {
			t.Error("the test has tested nothing: neither all nor none should succeed")
		}
		if err := h.inside.Collect(context.Background(), h.network, []cni.Attachment{}); err != nil {
			t.Errorf("gc: %v", err)
		}
		if diff := cmp.Diff(before, h.settled(before)); diff != "" {
			t.Errorf("state (-before +after):\n%s", diff)
		}
	})
}

// talk sends a packet to the container's UDP port on the host, so that there is a
// tracked connection.
func (h *host) talk(n int) {
	conn, err := net.Dial("udp", fmt.Sprintf("10.77.0.1:%d", 20000+n))
	if err != nil {
		h.Error(err)
		return
	}
	defer conn.Close()
	_, _ = conn.Write([]byte("hello")) // nobody listens, and to be told so is no failure
}

// live attaches a container in one of three ways, and detaches it, or just lets it die.
func (h *host) live(random *rand.Rand, id string, i int) error {
	ctx := context.Background()
	c := h.container(id, i)
	var err error
	switch random.IntN(3) {
	case 0:
		_, err = h.inside.Attach(ctx, h.network, c)
	case 1:
		_, err = h.executed.Attach(ctx, h.network, c)
	case 2:
		err = exec.Command(h.seam, "add", "leaks", c.NetNS, "--conf-dir", h.conf, "--plugin-dir", h.bin, "--id", id,
			"--cap", "portMappings="+string(c.Capabilities["portMappings"])).Run()
	}
	h.talk(i)
	if random.IntN(2) == 0 {
		// Being killed is no reason for a leak, and neither is an error of DEL.
		_ = h.executed.Detach(ctx, h.network, c)
	}
	return err
}

// killChildren kills a process of Seam's, plugin or command, every now and then.
func (h *host) killChildren(random *rand.Rand) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	wait.Go(func() {
		for ctx.Err() == nil {
			time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
			if pids := h.children(); len(pids) > 0 {
				_ = syscall.Kill(pids[random.IntN(len(pids))], syscall.SIGKILL)
			}
		}
	})
	return func() { cancel(); wait.Wait() }
}

// children returns the processes below this one that run the program.
func (h *host) children() []int {
	wanted, err := os.Stat(h.seam)
	if err != nil {
		return nil
	}
	entries, _ := os.ReadDir("/proc")
	var pids []int
	for _, e := range entries {
		var pid int
		if _, err := fmt.Sscan(e.Name(), &pid); err != nil {
			continue
		}
		if exe, err := os.Stat(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && os.SameFile(exe, wanted) {
			pids = append(pids, pid)
		}
	}
	return pids
}
