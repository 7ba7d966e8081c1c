package plan

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/hack/chains"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/plugintest"
)

// finds fails the test unless the plan has a conflict of that kind that says the words.
func (th *theatre) finds(p *Plan, kind string, fails bool, words ...string) {
	th.Helper()
	for _, c := range p.Conflicts {
		whole := c.Subject + " " + c.With + " " + c.Says
		if c.Kind == kind && c.Fails == fails && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(whole, w) }) {
			return
		}
	}
	th.Errorf("%s: no conflict of kind %s, fails: %v, with %q in %+v", p.Network, kind, fails, words, p.Conflicts)
}

// refuses is finds, and the rehearsal is refused for it, too.
func (th *theatre) refuses(p *Plan, kind string, words ...string) {
	th.Helper()
	th.finds(p, kind, true, words...)
	if p.Works() || p.Result != nil {
		th.Errorf("%s: works: %v, result %s", p.Network, p.Works(), p.Result)
	}
	if kind != "range" && !slices.ContainsFunc(p.Conflicts, func(c Conflict) bool { return c.Kind == "refused" && c.Code != 0 }) {
		th.Errorf("%s: foreseen by the list of conflicts, and not refused in the rehearsal: %+v", p.Network, p.Conflicts)
	}
}

const local = `"ipam":{"type":"host-local","subnet":"10.60.0.0/24"}`

func wishing(c seam.Container, n *seam.Network, w seam.Wishes) seam.Container {
	c.Args, c.Capabilities, _ = w.Express(n)
	return c
}

func TestConflicts(t *testing.T) {
	t.Parallel()
	netnstest.Host(t, func(t *testing.T) {
		th := newTheatre(t)
		plugintest.Must(t, chains.MakeUplinks(th.links))
		plugintest.Run(t, nil, "ip", "addr", "add", "10.61.0.1/24", "dev", "uplink")
		blue := th.of("blue", `{"type":"bridge","bridge":"blue0","isGateway":true,`+local+`},{"type":"portmap","capabilities":{"portMappings":true}}`)
		port := cni.PortMapping{HostPort: 8080, ContainerPort: 80, Protocol: "tcp"}
		first := wishing(th.bare(0), blue, seam.Wishes{Ports: []cni.PortMapping{port}})
		first.Name = "web"
		th.attach(blue, first)
		th.others(blue, first, port)
		th.onLinks()

		other := th.of("other", `{"type":"bridge","bridge":"blue0","ipam":{"type":"host-local","subnet":"10.60.0.128/25"}}`)
		p := th.plan(other, th.bare(1))
		th.finds(p, "range", false, "network blue", "10.60.0.1-10.60.0.254")
		th.finds(p, "bridge", false, "network blue", "blue0")
		p = th.plan(th.of("routed", `{"type":"ptp","ipam":{"type":"host-local","subnet":"10.61.0.128/25"}}`), th.bare(1))
		th.finds(p, "route", false, "10.61.0.0/24", "uplink")
		if !p.Works() || p.Result == nil {
			t.Errorf("a warning keeps it from working: %+v", p)
		}
		p = th.plan(th.of("lacking", `{"type":"ptp"},{"type":"nosuch"}`), th.bare(1))
		th.finds(p, "plugin", true, "nosuch")
		p = th.plan(th.of("invalid", `{"type":"ptp","mtu":"x"}`), th.bare(1))
		th.finds(p, "refused", true, "ptp", `key "mtu"`)
		small := th.of("small", `{"type":"bridge","bridge":"small0","ipam":{"type":"host-local","subnet":"10.62.0.0/30"}}`)
		th.attach(small, th.bare(1))
		th.refuses(th.plan(small, th.bare(2)), "range", "no free address")
	})
}

// others finds what conflicts with a container that is attached.
func (th *theatre) others(blue *seam.Network, first seam.Container, port cni.PortMapping) {
	th.Helper()
	th.refuses(th.plan(blue, first), "attached", "since")
	taken := first
	taken.ID = "again"
	th.refuses(th.plan(blue, taken), "interface", "eth0", "blue/c0/eth0")
	p := th.plan(blue, wishing(th.bare(1), blue, seam.Wishes{Ports: []cni.PortMapping{port}}))
	th.refuses(p, "port", "8080/tcp", "blue/c0/eth0", "web")
	p = th.plan(blue, wishing(th.bare(1), blue, seam.Wishes{IPs: []string{"10.60.0.2"}}))
	th.refuses(p, "address", "10.60.0.2", "c0 eth0")

	socket, err := net.Listen("tcp4", "127.0.0.1:9090")
	plugintest.Must(th, err)
	defer socket.Close()
	port.HostPort = 9090
	p = th.plan(blue, wishing(th.bare(1), blue, seam.Wishes{Ports: []cni.PortMapping{port}}))
	th.finds(p, "port", false, "127.0.0.1:9090/tcp", fmt.Sprintf("process %d", os.Getpid()))
	if !p.Works() {
		th.Errorf("a program that listens: %+v", p.Conflicts)
	}
	if p = th.plan(blue, th.bare(1)); len(p.Conflicts) > 0 {
		th.Errorf("nothing is in the way, but: %+v", p.Conflicts)
	}
}

// onLinks finds what is wrong with bridges and masters.
func (th *theatre) onLinks() {
	th.Helper()
	th.refuses(th.plan(th.of("none", `{"type":"bridge","bridge":"uplink","isGateway":true,"ipam":{"type":"host-local","subnet":"10.63.0.0/24"}}`), th.bare(1)), "bridge", "uplink", "not a bridge")
	th.refuses(th.plan(th.of("orphan", `{"type":"macvlan","master":"gone0","ipam":{"type":"host-local","subnet":"10.64.0.0/24"}}`), th.bare(1)), "master", "gone0")
	th.refuses(th.plan(th.of("large", `{"type":"macvlan","master":"uplink","mtu":9000,"ipam":{"type":"host-local","subnet":"10.65.0.0/24"}}`), th.bare(1)), "mtu", "9000", "1500")
	for _, name := range []string{"none", "orphan", "large"} {
		plugintest.Must(th, os.Remove(filepath.Join(th.confDir, name+".conflist")))
	}
}

// execute puts a program into the folder of plugins that says that it was executed.
func (th *theatre) execute(name string) (ran string) {
	th.Helper()
	ran = filepath.Join(th.TempDir(), "ran")
	plugintest.Must(th, os.WriteFile(filepath.Join(th.plugins, name), []byte("#!/bin/sh\ntouch "+ran+"\n"), 0o700))
	th.Cleanup(func() {
		if _, err := os.Stat(ran); err == nil {
			th.Errorf("plugin %s was executed", name)
		}
	})
	return ran
}

func TestWhatCannotBeForeseen(t *testing.T) {
	t.Parallel()
	netnstest.Host(t, func(t *testing.T) {
		th := newTheatre(t)
		plugintest.Must(t, chains.MakeUplinks(th.links))
		th.execute("foreign")
		c := th.bare(0)
		var p *Plan
		bridge := `{"type":"bridge","bridge":"br0",` + local + `}`
		middle := th.of("middle", bridge+`,{"type":"foreign"},{"type":"tuning","mtu":1400}`)
		th.untouched(c, func() { p = th.plan(middle, c) })
		if s := p.Plugins[1]; s.Executed == "" || s.Unforeseen == "" || len(s.Changes) > 0 {
			t.Errorf("foreign: %+v", s)
		}
		if s := p.Plugins[2]; s.Assuming != "foreign changes nothing" || s.Unforeseen != "" || len(s.Changes) == 0 || p.Result == nil {
			t.Errorf("tuning behind foreign: %+v", s)
		}
		p = th.plan(th.of("zoned", `{"type":"ptp",`+local+`},{"type":"firewall","backend":"firewalld"}`), c)
		if !p.Works() || p.Plugins[1].Unforeseen == "" {
			t.Errorf("firewalld: %+v", p.Plugins[1])
		}
		for name, plugins := range map[string]string{
			"first":   `{"type":"foreign","key":1},{"type":"tuning","mtu":1400}`,
			"ipam":    `{"type":"bridge","bridge":"br0","ipam":{"type":"foreign"}},{"type":"tuning","mtu":1400}`,
			"dhcp":    `{"type":"macvlan","master":"uplink","ipam":{"type":"dhcp"}},{"type":"tuning","mtu":1400}`,
			"wrapped": `{"type":"wrap","delegate":` + bridge + `},{"type":"tuning","mtu":1400}`,
			"pci":     `{"type":"host-device","pciBusID":"0000:00:1f.6"},{"type":"tuning","mtu":1400}`,
		} {
			p := th.plan(th.of(name, plugins), c)
			if !p.Works() || p.Result != nil || !p.Plugins[0].unforeseen() || p.Plugins[0].Result != nil {
				t.Errorf("%s: %+v, first step %+v", name, p, p.Plugins[0])
			}
			if s := p.Plugins[1]; s.Unforeseen == "" || !strings.Contains(string(s.Input), "1400") || strings.Contains(string(s.Input), "prevResult") {
				t.Errorf("%s: second step %+v", name, s)
			}
		}
	})
}

func TestWithoutContainer(t *testing.T) {
	t.Parallel()
	netnstest.Host(t, func(t *testing.T) {
		th := newTheatre(t)
		for _, dir := range []string{"/var/lib/cni", "/run/seam"} {
			if _, err := os.Stat(filepath.Join(dir, "networks")); err == nil {
				t.Fatalf("%s is not empty", dir)
			}
		}
		c := seam.Container{ID: "new", IfName: "eth0"}
		var p *Plan
		blue := th.of("blue", `{"type":"ptp",`+local+`}`)
		th.untouched(c, func() { p = th.plan(blue, c) })
		if !strings.Contains(string(p.Result), newNamespace) || !p.Works() {
			t.Errorf("%+v", p)
		}
	})
}
