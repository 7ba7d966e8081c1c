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
	"github.com/seamnet/seam/hack/chains"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/all"
	"github.com/seamnet/seam/plugin/plugintest"
)

var seed = flag.Uint64("seed", uint64(time.Now().UnixNano()), "of the random moments; a failing run prints its own")

// flakyPlugin is added to every chain.
const flakyPlugin = `{"type":"flaky"}`

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
	chains    []chains.Chain
	links     *link.Handle
	kernel    *plugin.Host
	inside    seam.Runtime // built-ins in process
	executed  seam.Runtime // everything executed
}

func setup(t *testing.T) *host {
	t.Helper()
	dir := t.TempDir()
	h := &host{T: t, bin: filepath.Join(dir, "bin"), conf: filepath.Join(dir, "net.d"), seam: plugintest.Program(t)}
	if err := errors.Join(os.Mkdir(h.bin, 0o755), os.Mkdir(h.conf, 0o755)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(h.seam, "install", "--bin-dir", h.bin).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	self, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(h.bin, "flaky")); err != nil {
		t.Fatal(err)
	}
	if h.links, err = link.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.links.Close() })
	if err := chains.MakeUplinks(h.links); err != nil {
		t.Fatal(err)
	}
	h.chooseChains()
	h.kernel = plugin.NewHost(plugin.DefaultDirs)
	t.Cleanup(func() { h.kernel.Close() })
	dirs := []string{h.bin}
	// To the first, the files in bin are Seam's own; the second knows no built-ins.
	h.inside = seam.Runtime{Plugins: wire.Path{Dirs: dirs, Builtins: all.Registry(h.kernel), Self: h.seam}}
	h.executed = seam.Runtime{Plugins: wire.Path{Dirs: dirs}}
	return h
}

// chooseChains takes the chains that the kernel can make, and writes their files.
func (h *host) chooseChains() {
	h.Helper()
	for _, c := range chains.All() {
		runs, err := c.Runs(h.links)
		if err != nil {
			h.Fatal(err)
		}
		if !runs {
			h.Logf("without chain %s: this kernel makes no links of kind %s", c.Name, c.Kind)
			continue
		}
		h.chains = append(h.chains, c)
		if err := os.WriteFile(filepath.Join(h.conf, c.Name+".conflist"), c.Conflist("1.1.0", 0, flakyPlugin), 0o600); err != nil {
			h.Fatal(err)
		}
	}
}

// A guest is a container that is to be attached to a chain's network.
type guest struct {
	seam.Container
	chain   chains.Chain
	network *seam.Network
	n       int
}

// guest returns container n, whose ID may end in words that the plugin flaky reads.
func (h *host) guest(chain chains.Chain, n int, words string) guest {
	h.Helper()
	id := fmt.Sprintf("c%d%s", n, words)
	g := guest{chain: chain, n: n, Container: seam.Container{
		ID: id, IfName: "eth0", NetNS: "/run/netns/" + id, Capabilities: make(map[string]json.RawMessage),
	}}
	for name, value := range chains.Capabilities(n) {
		b, err := json.Marshal(value)
		if err != nil {
			h.Fatal(err)
		}
		g.Capabilities[name] = b
	}
	var err error
	if g.network, err = seam.Parse(chain.Conflist("1.1.0", n, flakyPlugin), chain.Name+".conflist"); err != nil {
		h.Fatal(err)
	}
	return g
}

// arrive makes the container's namespace, and what is lent to it.
func (h *host) arrive(g guest) {
	h.Helper()
	ns, err := netns.NewAt(g.NetNS)
	if err != nil {
		h.Error(err)
		return
	}
	ns.Close()
	if g.chain.Lent {
		if err := chains.MakeDevice(h.links, g.n); err != nil {
			h.Error(err)
		}
	}
}

// leave removes what arrive made.
func (h *host) leave(g guest) {
	h.Helper()
	if err := netns.Remove(g.NetNS); err != nil {
		h.Error(err)
	}
	if g.chain.Lent {
		// With the namespace the device may be gone already, which is its end.
		if err := chains.DeleteDevice(h.links, g.n); err != nil && !errors.Is(err, fs.ErrNotExist) {
			h.Error(err)
		}
	}
}

var pods = regexp.MustCompile(`src=10\.(1[0-9][0-9]|99)\.[0-9]+\.[0-9]+`)

// state is all that may not grow: kernel and files.
func (h *host) state() string {
	h.Helper()
	var b strings.Builder
	b.WriteString(byTable(plugintest.State(h)))
	for line := range strings.Lines(plugintest.Run(h, nil, "conntrack", "-L")) {
		// What led to a pod. What a client sent to a port that nobody had published, and
		// the kernel's own multicast, come and go by themselves.
		if slices.ContainsFunc(pods.FindAllString(line, -1), func(src string) bool { return !strings.HasSuffix(src, ".0.1") }) {
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

// byTable sorts the firewall's tables: one that was flushed and restored is listed last.
func byTable(state string) string {
	parts := strings.Split(state, "\ntable ")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	slices.Sort(parts[1:])
	return strings.Join(parts, "\ntable ") + "\n"
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

// warmUp attaches one container to each network, so that what attachments share is
// there, and returns the state without any.
func (h *host) warmUp() string {
	h.Helper()
	ctx := context.Background()
	for i, chain := range h.chains {
		g := h.guest(chain, 990+i, "")
		h.arrive(g)
		if _, err := h.inside.Attach(ctx, g.network, g.Container); err != nil {
			h.Fatalf("chain %s: %v", chain.Name, err)
		}
		if err := h.inside.Check(ctx, g.network, g.Container); err != nil {
			h.Fatalf("chain %s: %v", chain.Name, err)
		}
		if err := h.inside.Detach(ctx, g.network, g.Container); err != nil {
			h.Fatalf("chain %s: %v", chain.Name, err)
		}
		h.leave(g)
	}
	return h.state()
}

func TestAttachAndDetachLeaveNothing(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h := setup(t)
		before := h.warmUp()
		n := few(200)
		ctx := context.Background()
		guests := make([]guest, n)
		each(n, func(i int) {
			g := h.guest(h.chains[i%len(h.chains)], i, "")
			guests[i] = g
			h.arrive(g)
			rt := &h.inside
			if i/len(h.chains)%4 == 0 {
				rt = &h.executed
			}
			if _, err := rt.Attach(ctx, g.network, g.Container); err != nil {
				t.Errorf("attach %s to %s: %v", g.ID, g.chain.Name, err)
			}
			h.talk(i)
		})
		each(n, func(i int) {
			g := guests[i]
			if err := h.inside.Detach(ctx, g.network, g.Container); err != nil {
				t.Errorf("detach %s from %s: %v", g.ID, g.chain.Name, err)
			}
			h.leave(g)
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
		n := few(500)
		stop := h.killChildren(rand.New(rand.NewPCG(*seed, 1)))
		succeeded := 0
		for _, ok := range h.round(n, *seed) {
			if ok {
				succeeded++
			}
		}
		stop()
		t.Logf("%d of %d were attached", succeeded, n)
		if succeeded == 0 || succeeded == n {
			t.Error("the test has tested nothing: neither all nor none should succeed")
		}
		h.collect()
		if diff := cmp.Diff(before, h.settled(before)); diff != "" {
			t.Errorf("state (-before +after):\n%s", diff)
		}
	})
}

// round lets n containers come and go, and reports of each whether it was attached.
func (h *host) round(n int, seed uint64) []bool {
	outcomes := make([]bool, n)
	each(n, func(i int) {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		words := ""
		if random.IntN(5) == 0 {
			words = "-fails"
		}
		g := h.guest(h.chains[random.IntN(len(h.chains))], i, words)
		h.arrive(g)
		outcomes[i] = h.live(random, g) == nil
		h.leave(g)
	})
	return outcomes
}

// collect frees what is left in all networks.
func (h *host) collect() {
	h.Helper()
	for _, chain := range h.chains {
		g := h.guest(chain, 0, "")
		if err := h.inside.Collect(context.Background(), g.network, []cni.Attachment{}); err != nil {
			h.Errorf("gc of %s: %v", chain.Name, err)
		}
	}
}

// few returns fewer where the machine is slow.
func few(n int) int {
	if testing.Short() {
		return n / 8
	}
	return n
}

// talk sends a packet to the container's UDP port on the host, so that there is a
// tracked connection.
func (h *host) talk(n int) {
	conn, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", 20000+n))
	if err != nil {
		h.Error(err)
		return
	}
	defer conn.Close()
	_, _ = conn.Write([]byte("hello")) // nobody listens, and to be told so is no failure
}

// live attaches a container in one of three ways, and detaches it, or just lets it die.
func (h *host) live(random *rand.Rand, g guest) error {
	ctx := context.Background()
	var err error
	switch way := random.IntN(3); {
	case way == 0:
		_, err = h.inside.Attach(ctx, g.network, g.Container)
	case way == 1 || g.chain.Own(): // whose configuration is in no file
		_, err = h.executed.Attach(ctx, g.network, g.Container)
	default:
		args := []string{"add", g.chain.Name, g.NetNS, "--conf-dir", h.conf, "--plugin-dir", h.bin, "--id", g.ID}
		for name, value := range g.Capabilities {
			args = append(args, "--cap", name+"="+string(value))
		}
		err = exec.Command(h.seam, args...).Run()
	}
	h.talk(g.n)
	if random.IntN(2) == 0 {
		// Being killed is no reason for a leak, and neither is an error of DEL.
		_ = h.executed.Detach(ctx, g.network, g.Container)
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

// children returns the processes of Seam's, commands and plugins.
func (h *host) children() []int {
	command, err := os.Stat(h.seam)
	if err != nil {
		return nil
	}
	plugins, err := os.Stat(filepath.Join(h.bin, "bridge")) // one file under all names
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
		if exe, err := os.Stat(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && (os.SameFile(exe, command) || os.SameFile(exe, plugins)) {
			pids = append(pids, pid)
		}
	}
	return pids
}
