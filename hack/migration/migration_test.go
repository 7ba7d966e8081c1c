// Package migration proves that a host can change from the reference plugins to Seam
// and back while containers run: what one made, the other checks, detaches and frees.
package migration

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/hack/chains"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/plugintest"
)

// A node is a host whose runtime uses libcni, and whose plugins are exchanged.
type node struct {
	*testing.T
	reference string // where these come from
	seam      string // the program
	bin, conf string // what the runtime reads
	cni       *libcni.CNIConfig
	links     *link.Handle
}

func newNode(t *testing.T) *node {
	t.Helper()
	dir := t.TempDir()
	n := &node{T: t, reference: os.Getenv("SEAM_REFERENCE_PLUGINS"), seam: plugintest.Program(t), bin: filepath.Join(dir, "bin"), conf: filepath.Join(dir, "net.d")}
	if n.reference == "" {
		t.Skip("needs the reference plugins: set SEAM_REFERENCE_PLUGINS to their folder, as make test does")
	}
	for _, dir := range []string{n.bin, n.conf} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	n.cni = libcni.NewCNIConfigWithCacheDir([]string{n.bin}, "/var/lib/cni", nil)
	var err error
	if n.links, err = link.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.links.Close() })
	if err := chains.MakeUplinks(n.links); err != nil {
		t.Fatal(err)
	}
	return n
}

// useReference puts the reference plugins into the runtime's folder, over what is there.
func (n *node) useReference() {
	n.Helper()
	entries, err := os.ReadDir(n.reference)
	if err != nil {
		n.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(n.reference, e.Name()))
		if err != nil {
			n.Fatal(err)
		}
		next := filepath.Join(n.bin, "."+e.Name())
		if err := os.WriteFile(next, data, 0o755); err != nil {
			n.Fatal(err)
		}
		if err := os.Rename(next, filepath.Join(n.bin, e.Name())); err != nil {
			n.Fatal(err)
		}
	}
}

// useSeam installs Seam over what is there, as an administrator does.
func (n *node) useSeam() {
	n.Helper()
	n.run("install", "--bin-dir", n.bin)
}

// run runs the program with the node's folders.
func (n *node) run(args ...string) {
	n.Helper()
	if !strings.HasSuffix(args[0], "install") {
		args = append(args, "--conf-dir", n.conf, "--plugin-dir", n.bin)
	}
	if out, err := exec.Command(n.seam, args...).CombinedOutput(); err != nil {
		n.Errorf("seam %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// A container is one that the runtime attached.
type container struct {
	*node
	chain   chains.Chain
	n       int
	path    string
	list    *libcni.NetworkConfigList
	runtime *libcni.RuntimeConf
}

// start makes a container and attaches it.
func (n *node) start(chain chains.Chain, number int) *container {
	n.Helper()
	id := fmt.Sprintf("%s-%d", chain.Name, number)
	c := &container{node: n, chain: chain, n: number, path: "/run/netns/" + id}
	ns, err := netns.NewAt(c.path)
	if err != nil {
		n.Fatal(err)
	}
	ns.Close()
	if chain.Lent {
		if err := chains.MakeDevice(n.links, number); err != nil {
			n.Fatal(err)
		}
	}
	c.configure()
	if c.list, err = libcni.NetworkConfFromBytes(chain.Conflist("1.0.0", number)); err != nil {
		n.Fatal(err)
	}
	c.runtime = &libcni.RuntimeConf{ContainerID: id, NetNS: c.path, IfName: "eth0", CapabilityArgs: chains.Capabilities(number)}
	if _, err := n.cni.AddNetworkList(context.Background(), c.list, c.runtime); err != nil {
		c.die()
		n.Fatalf("chain %s: ADD: %v", chain.Name, err)
	}
	return c
}

// configure writes the network's file, which may be the container's own.
func (c *container) configure() {
	c.Helper()
	if err := os.WriteFile(filepath.Join(c.conf, c.chain.Name+".conflist"), c.chain.Conflist("1.0.0", c.n), 0o600); err != nil {
		c.Fatal(err)
	}
}

func (c *container) check(who string) {
	c.Helper()
	if err := c.cni.CheckNetworkList(context.Background(), c.list, c.runtime); err != nil {
		c.Errorf("CHECK by %s: %v", who, err)
	}
}

// stop detaches the container and ends it.
func (c *container) stop(who string) {
	c.Helper()
	if err := c.cni.DelNetworkList(context.Background(), c.list, c.runtime); err != nil {
		c.Errorf("DEL by %s: %v", who, err)
	}
	c.die()
}

// die ends the container without detaching it.
func (c *container) die() {
	c.Helper()
	if err := netns.Remove(c.path); err != nil {
		c.Error(err)
	}
	if c.chain.Lent {
		_ = chains.DeleteDevice(c.links, c.n) // gone with the namespace, if it was in there
	}
}

// answers reports whether the container's published port is reached from the host,
// where it is an end of the connection, and by the other network that stands outside.
func (c *container) answers() {
	c.Helper()
	if !slices.Contains(c.chain.Types, "portmap") {
		return
	}
	ns, err := netns.Open(c.path)
	if err != nil {
		c.Fatal(err)
	}
	defer ns.Close()
	var l net.Listener
	if err := ns.Do(func() (err error) { l, err = net.Listen("tcp", ":80"); return err }); err != nil {
		c.Fatal(err)
	}
	defer l.Close()
	conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+c.n), 3*time.Second)
	if err != nil {
		c.Errorf("published port: %v", err)
		return
	}
	conn.Close()
}

// state is what must be as before: kernel, leases and results.
func (n *node) state() string {
	n.Helper()
	var b strings.Builder
	b.WriteString(volatile.ReplaceAllString(plugintest.State(n), ""))
	for _, pattern := range []string{"/var/lib/cni/results/*", "/var/lib/cni/networks/*/*", "/run/cni/tuning/*", "/run/seam/*/*"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			n.Fatal(err)
		}
		for _, f := range files {
			if info, err := os.Stat(f); err != nil || info.IsDir() || strings.Contains(f, "last_reserved_ip") {
				continue
			}
			b.WriteString(f + "\n")
		}
	}
	return b.String()
}

// volatile is what goes on by itself: packets are counted, and IPv6 addresses become
// usable a while after the reference has added them.
var volatile = regexp.MustCompile(`counter packets \d+ bytes \d+| tentative|(?m)^(local|anycast) fd00:.*\n`)

func (n *node) settled(want string) string {
	n.Helper()
	got := n.state()
	for range 100 {
		if got == want {
			break
		}
		time.Sleep(100 * time.Millisecond)
		got = n.state()
	}
	return got
}

// each runs the test for every chain that the kernel can make.
func each(t *testing.T, test func(n *node, chain chains.Chain)) {
	netnstest.Host(t, func(t *testing.T) {
		n := newNode(t)
		for _, chain := range chains.All() {
			t.Run(chain.Name, func(t *testing.T) {
				n := *n
				n.T = t
				runs, err := chain.Runs(n.links)
				if err != nil {
					t.Fatal(err)
				}
				if !runs {
					t.Skipf("this kernel makes no links of kind %s; make test-kernels runs this on one that does", chain.Kind)
				}
				test(&n, chain)
			})
		}
	})
}

// TestSeamTakesOver: containers that the reference plugins attached are Seam's to
// check, detach and free.
func TestSeamTakesOver(t *testing.T) {
	each(t, func(n *node, chain chains.Chain) {
		n.useReference()
		n.start(chain, 1).stop("the reference") // leaves what all share
		n.useSeam()
		n.start(chain, 2).stop("Seam")
		before := n.state()

		n.useReference()
		detached, freed := n.start(chain, 3), n.start(chain, 4)
		n.useSeam()
		detached.check("Seam")
		detached.configure()
		n.run("check", chain.Name, detached.path, "--id", detached.runtime.ContainerID)
		detached.answers()
		detached.stop("Seam")
		freed.check("Seam")
		freed.die()
		n.run("gc", chain.Name)
		if diff := cmp.Diff(before, n.settled(before)); diff != "" {
			n.Errorf("state (-before +after):\n%s", diff)
		}
	})
}

// foreign are plugins whose rules the reference's CHECK looks for in a form of its own,
// and those after which the reference's interface plugins find their routes no more.
var foreign = []string{"portmap", "firewall", "sbr", "vrf"}

// TestTheWayBack: containers that Seam attached are the reference plugins' to detach.
// What they know nothing of, Seam's rules, seam gc frees.
func TestTheWayBack(t *testing.T) {
	each(t, func(n *node, chain chains.Chain) {
		n.useReference()
		n.useSeam()
		n.start(chain, 1).stop("Seam")
		n.run("uninstall", "--bin-dir", n.bin)
		n.start(chain, 2).stop("the reference")
		before := n.state()

		n.useSeam()
		c := n.start(chain, 3)
		n.run("uninstall", "--bin-dir", n.bin)
		c.answers()
		if !slices.ContainsFunc(chain.Types, func(name string) bool { return slices.Contains(foreign, name) }) {
			c.check("the reference")
		}
		c.stop("the reference")
		n.run("gc", chain.Name, "--builtin")
		if diff := cmp.Diff(before, n.settled(before)); diff != "" {
			n.Errorf("state (-before +after):\n%s", diff)
		}
	})
}

// TestBackEnds: what the reference's nftables back ends made is Seam's as well.
func TestBackEnds(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		n := newNode(t)
		chain := chains.Chain{Name: "backends", Types: []string{"bridge", "portmap"}, Plugins: `
			{"type":"bridge","bridge":"back0","isDefaultGateway":true,"ipMasq":true,"ipMasqBackend":"nftables","macspoofchk":true,
			 "ipam":{"type":"host-local","ranges":[[{"subnet":"10.98.0.0/24"}],[{"subnet":"fd00:98::/64"}]]}},
			{"type":"portmap","backend":"nftables","capabilities":{"portMappings":true}}`}
		n.useReference()
		n.start(chain, 1).stop("the reference")
		before := n.state()
		c := n.start(chain, 2)
		if !strings.Contains(n.state(), "cni_hostport") {
			t.Fatal("the reference made no port mappings with nftables: nothing is tested")
		}
		n.useSeam()
		c.check("Seam")
		plugintest.Run(t, nil, "nft", "flush", "chain", "inet", "cni_plugins_masquerade", "masq_checks")
		if err := c.cni.CheckNetworkList(context.Background(), c.list, c.runtime); err == nil {
			t.Error("CHECK without the masquerading rules: no error")
		}
		c.stop("Seam")
		withoutSeam := func(s string) string {
			var kept []string
			for part := range strings.SplitSeq(s, "\ntable ") {
				if !strings.HasPrefix(part, "inet seam") && !strings.HasPrefix(part, "bridge seam") {
					kept = append(kept, part)
				}
			}
			return strings.Join(kept, "\ntable ")
		}
		if diff := cmp.Diff(before, withoutSeam(n.settled(before))); diff != "" {
			t.Errorf("state (-before +after):\n%s", diff)
		}
	})
}
