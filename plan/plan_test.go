package plan

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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

// rehearsing is the argument by which the test binary answers instead of testing.
const rehearsing = "rehearse"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == rehearsing {
		host := plugin.NewHost(plugin.DefaultDirs)
		stage := &Stage{Host: host, Plugins: wire.Path{Dirs: []string{os.Args[2]}, Builtins: all.Registry(host)}}
		if err := stage.Answer(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// A theatre is a host on which attachments are planned and made.
type theatre struct {
	*testing.T
	rt      *seam.Runtime
	links   *link.Handle
	confDir string // of networks
	plugins string // folder of executed ones
}

func newTheatre(t *testing.T) *theatre {
	host := plugin.NewHost(plugin.DefaultDirs)
	t.Cleanup(func() { plugintest.Must(t, host.Close()) })
	th := &theatre{T: t, confDir: "/etc/cni/net.d", plugins: t.TempDir(), links: plugintest.Links(t, nil)}
	plugintest.Must(t, os.MkdirAll(th.confDir, 0o755))
	th.rt = &seam.Runtime{Plugins: wire.Path{Dirs: []string{th.plugins}, Builtins: all.Registry(host)}, CacheDir: seam.DefaultCacheDir}
	return th
}

// network writes a network's file and returns the network.
func (th *theatre) network(name string, conflist []byte) *seam.Network {
	th.Helper()
	file := filepath.Join(th.confDir, name+".conflist")
	plugintest.Must(th, os.WriteFile(file, conflist, 0o600))
	n, err := seam.LoadFile(file)
	plugintest.Must(th, err)
	return n
}

func (th *theatre) of(name, plugins string) *seam.Network {
	th.Helper()
	return th.network(name, fmt.Appendf(nil, `{"cniVersion":"1.1.0","name":%q,"plugins":[%s]}`, name, plugins))
}

// container returns container number n, with a namespace and all wishes that the network takes.
func (th *theatre) container(n int, network *seam.Network) seam.Container {
	th.Helper()
	c := th.bare(n)
	c.Capabilities = make(map[string]json.RawMessage)
	for name, value := range chains.Capabilities(n) {
		data, err := json.Marshal(value)
		plugintest.Must(th, err)
		if slices.Contains(network.Capabilities(), name) {
			c.Capabilities[name] = data
		}
	}
	return c
}

// bare returns container number n, which wishes for nothing.
func (th *theatre) bare(n int) seam.Container {
	th.Helper()
	id := fmt.Sprintf("c%d", n)
	path := "/run/netns/" + id
	if _, err := os.Stat(path); err != nil {
		netnstest.NewPod(th, id)
	}
	return seam.Container{ID: id, IfName: "eth0", NetNS: path}
}

func (th *theatre) plan(n *seam.Network, c seam.Container) *Plan {
	th.Helper()
	cmd := exec.Command("/proc/self/exe", rehearsing, th.plugins)
	cmd.Stderr = os.Stderr
	p, err := Ask(cmd, Question{Network: n, Container: c, ConfDir: th.confDir, CacheDir: th.rt.CacheDir})
	if err != nil {
		th.Fatal(err)
	}
	return p
}

func (th *theatre) attach(n *seam.Network, c seam.Container) {
	th.Helper()
	if _, err := th.rt.Attach(th.Context(), n, c); err != nil {
		th.Fatal(err)
	}
	th.Cleanup(func() {
		if err := th.rt.Detach(context.Background(), n, c); err != nil {
			th.Error(err)
		}
	})
}

// untouched fails the test if f changes anything on the host or in the container.
func (th *theatre) untouched(c seam.Container, f func()) {
	th.Helper()
	state := func() string {
		files, err := exec.Command("find", "/run", "/var/lib/cni", "/etc/cni", "-printf", "%p %s %i %m %T@\n").CombinedOutput()
		plugintest.Must(th, err)
		return plugintest.State(th) + string(files) + th.inside(c, "ip -o link") + th.inside(c, "ip -o addr") + th.inside(c, "ip route show table all") + th.inside(c, "ip rule")
	}
	before := state()
	f()
	if diff := cmp.Diff(before, state()); diff != "" {
		th.Errorf("the plan changed the host (-before +after):\n%s", diff)
	}
}

func (th *theatre) inside(c seam.Container, command string) string {
	th.Helper()
	if c.NetNS == "" {
		return ""
	}
	out, err := exec.Command("nsenter", append([]string{"--net=" + c.NetNS}, strings.Fields(command)...)...).CombinedOutput()
	plugintest.Must(th, err)
	return string(out)
}

// exact makes an attachment that was planned, and fails the test unless what came to be, and
// nothing else, is what was planned.
func (th *theatre) exact(n *seam.Network, c seam.Container, p *Plan) {
	th.Helper()
	for _, conflict := range p.Conflicts {
		if conflict.Fails {
			th.Errorf("conflict: %+v", conflict)
		}
	}
	r := &rehearsal{Stage: &Stage{Host: plugin.NewHost(plugin.DefaultDirs)}, question: Question{Network: n, Container: c, CacheDir: th.rt.CacheDir}, plan: &Plan{}, macs: map[string]bool{}, podPath: c.NetNS}
	w := th.witness(r)
	before, err := w.look()
	plugintest.Must(th, err)
	result, err := th.rt.Attach(th.Context(), n, c)
	if err != nil {
		th.Fatal(err)
	}
	th.Cleanup(func() { plugintest.Must(th, th.rt.Detach(context.Background(), n, c)) })
	after, err := w.look()
	plugintest.Must(th, err)
	for _, f := range before.facts {
		if f.What == "link" {
			r.macs[f.Link.MAC] = true
		}
	}
	r.plan.Runtime = before.changes(after)
	made, err := r.encode(result)
	plugintest.Must(th, err)
	r.scrub()
	if diff := cmp.Diff(text(p.all()), text(r.plan.Runtime)); diff != "" {
		th.Errorf("network %s (-planned +made):\n%s", n.Name, diff)
	}
	if diff := cmp.Diff(string(p.Result), string(made)); diff != "" {
		th.Errorf("network %s: result (-planned +made):\n%s", n.Name, diff)
	}
	if len(p.Notes) > 0 {
		th.Errorf("network %s: notes %q", n.Name, p.Notes)
	}
}

func (th *theatre) witness(r *rehearsal) *witness {
	th.Helper()
	host, err := netns.Current()
	plugintest.Must(th, err)
	pod, err := netns.Open(r.question.Container.NetNS)
	plugintest.Must(th, err)
	empty, err := netns.New()
	plugintest.Must(th, err)
	fresh, err := link.ReadSettings(empty)
	plugintest.Must(th, err)
	w, err := r.witness(host, pod, fresh)
	plugintest.Must(th, err)
	th.Cleanup(func() {
		plugintest.Must(th, r.close())
		for _, ns := range []*netns.Namespace{host, pod, empty} {
			plugintest.Must(th, ns.Close())
		}
	})
	return w
}

// all returns what all steps come to.
func (p *Plan) all() []Change {
	var list []Change
	eachStep(p.Plugins, func(s *Step) { list = then(list, s.Changes) })
	return then(list, p.Runtime)
}

func text(changes []Change) (lines []string) {
	for _, c := range changes {
		lines = append(lines, fmt.Sprintf("%s %s %s: %s = %s (%s)", c.Where, c.Verb, c.What, c.Subject, c.Value, c.Was))
	}
	return lines
}

func TestWhatIsPlannedIsWhatIsMade(t *testing.T) {
	t.Parallel()
	netnstest.Host(t, func(t *testing.T) {
		th := newTheatre(t)
		plugintest.Must(t, chains.MakeUplinks(th.links))
		for _, c := range chains.All() {
			th.scene(c.Name, func(th *theatre) {
				if runs, err := c.Runs(th.links); err != nil || !runs {
					th.Skipf("this kernel has no %s: %v", c.Kind, err)
				}
				if c.Lent {
					plugintest.Must(th, chains.MakeDevice(th.links, 0))
				}
				network := th.network(c.Name, c.Conflist("1.1.0", 0))
				con := th.container(0, network)
				var p *Plan
				th.untouched(con, func() { p = th.plan(network, con) })
				th.exact(network, con, p)
			})
		}
	})
}

func TestWhatIsPlannedIsWhatIsMadeElsewhere(t *testing.T) {
	t.Parallel()
	netnstest.Host(t, func(t *testing.T) {
		th := newTheatre(t)
		plugintest.Must(t, chains.MakeUplinks(th.links))
		plugintest.Run(t, nil, "ip", "addr", "add", "192.0.2.2/24", "dev", "uplink")
		plugintest.Run(t, nil, "ip", "route", "add", "default", "via", "192.0.2.1")
		plugintest.Run(t, nil, "ip", "rule", "add", "from", "198.51.100.7", "lookup", "77")
		plugintest.Run(t, nil, "ip", "route", "add", "198.51.100.0/24", "via", "192.0.2.9", "table", "77")
		for _, e := range []string{"ports", "dualstack"} {
			th.scene(e, func(th *theatre) {
				data, err := os.ReadFile("../examples/" + e + ".conflist")
				plugintest.Must(th, err)
				n := th.network(e, data)
				for i := range 3 {
					th.attach(n, th.bare(i))
				}
				c := th.container(3, n)
				delete(c.Capabilities, cni.CapabilityIPs)
				p := th.plan(n, c)
				th.exact(n, c, p)
				hairpin := func(c Change) bool { return c.What == "link" && strings.Contains(c.Value, "hairpin") }
				if is := slices.ContainsFunc(p.all(), hairpin); is != (e == "ports") {
					th.Errorf("hairpin: %v in %q", is, text(p.all()))
				}
			})
		}
		th.attach(th.of("before", `{"type":"ptp","ipam":{"type":"host-local","subnet":"10.40.0.0/24"}}`), th.bare(0))
		for name, plugins := range second {
			con := th.bare(0)
			con.IfName = "eth1"
			th.scene(name, func(th *theatre) {
				n := th.of(name, plugins)
				th.exact(n, con, th.plan(n, con))
			})
		}
	})
}

// second are networks for a second interface of a container.
var second = map[string]string{
	"static":   `{"type":"bridge","bridge":"static0","ipam":{"type":"static","addresses":[{"address":"10.41.0.5/24","gateway":"10.41.0.1"}],"routes":[{"dst":"10.42.0.0/16"}]}}`,
	"isolated": `{"type":"bridge","bridge":"iso0","portIsolation":true,"isGateway":true,"mtu":1420,"ipam":{"type":"host-local","dataDir":"/var/lib/cni/leases/iso","subnet":"10.43.0.0/24"}}`,
	"tuned": `{"type":"ptp","ipam":{"type":"host-local","subnet":"10.44.0.0/24"}},
		{"type":"tuning","sysctl":{"net.ipv4.conf.IFNAME.arp_filter":"1"},"mac":"02:00:00:00:00:07","promisc":true},{"type":"sbr"}`,
	"uplinked": `{"type":"macvlan","ipam":{"type":"host-local","subnet":"192.0.2.0/24","rangeStart":"192.0.2.100"}}`,
	"masked":   `{"type":"ptp","ipam":{"type":"host-local","subnet":"10.45.0.0/24"}},{"type":"masquerade","except":["10.0.0.0/8"]},{"type":"firewall","backend":"nftables"}`,
}

// scene plays f as a test of its own: what it attaches is gone afterwards.
func (th *theatre) scene(name string, f func(*theatre)) {
	th.Run(name, func(t *testing.T) {
		inner := *th
		inner.T = t
		f(&inner)
	})
}

// What is left of an attachment whose namespace is gone is removed first.
func TestTheNamespaceIsAnotherOne(t *testing.T) {
	t.Parallel()
	netnstest.Host(t, func(t *testing.T) {
		th := newTheatre(t)
		n := th.of("again", `{"type":"bridge","bridge":"again0","isGateway":true,"ipMasq":true,"ipam":{"type":"host-local","subnet":"10.52.0.0/24"}}`)
		c := th.bare(0)
		_, err := th.rt.Attach(t.Context(), n, c)
		plugintest.Must(t, err)
		plugintest.Must(t, netns.Remove(c.NetNS))
		plugintest.Must(t, th.links.Delete(plugin.HostName(c.Attachment(n.Name).Tag())))
		ns, err := netns.NewAt(c.NetNS)
		plugintest.Must(t, err)
		defer ns.Close()
		p := th.plan(n, c)
		th.exact(n, c, p)
		if !slices.ContainsFunc(p.Runtime, func(c Change) bool { return c.Verb == "remove" && strings.HasSuffix(c.Subject, "/10.52.0.2") }) {
			t.Errorf("the old lease stays: %q", text(p.Runtime))
		}
	})
}

func TestForwardingIsAdmittedWherePolicyDrops(t *testing.T) {
	t.Parallel()
	netnstest.Host(t, func(t *testing.T) {
		th := newTheatre(t)
		plugintest.Run(t, nil, "iptables", "-P", "FORWARD", "DROP")
		n := th.of("admit", `{"type":"bridge","bridge":"admit0","isGateway":true,"ipMasq":true,"ipam":{"type":"host-local","subnet":"10.51.0.0/24"}}`)
		p := th.plan(n, th.bare(0))
		th.exact(n, th.bare(0), p)
		if !strings.Contains(strings.Join(text(p.all()), "\n"), "iptables: accept what admit0 forwards") {
			t.Errorf("planned %q", text(p.all()))
		}
		th.exact(n, th.bare(1), th.plan(n, th.bare(1)))
	})
}

func TestIPTablesIsNoted(t *testing.T) {
	t.Parallel()
	netnstest.Host(t, func(t *testing.T) {
		th := newTheatre(t)
		n := th.of("tables", `{"type":"ptp",`+local+`},{"type":"firewall","backend":"iptables"}`)
		var p *Plan
		th.untouched(th.bare(0), func() { p = th.plan(n, th.bare(0)) })
		if !p.Works() || len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "iptables") {
			t.Errorf("conflicts %+v, notes %q", p.Conflicts, p.Notes)
		}
	})
}
