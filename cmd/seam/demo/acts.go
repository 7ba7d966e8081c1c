package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/examples"
)

func acts() []act {
	return []act{
		{title: "a host of its own: network and file systems apart from this one", play: makeHost},
		{title: "the plugins installed: one program under many names", play: installPlugins},
		{title: "two networks, from files in examples/demo", play: loadNetworks},
		{title: "containers web, db and probe attached to network demo", play: attachThree},
		{title: "containers reach each other, by IPv4 and IPv6", play: reachEachOther},
		{title: "containers reach the host, and the host them", play: reachHost},
		{title: "containers reach a neighbour network, masqueraded", play: reachNeighbour},
		{title: "port 8080 of the host is port 80 of web", play: reachPort},
		{title: "a shell script wraps the plugin bridge", play: attachWrapped},
		{title: "all attachments are as they were made (check)", play: checkAll},
		{title: "what exists now", play: picture},
		{title: "all containers detached", play: detachAll, clean: true},
		{title: "nothing is left", play: nothingLeft, clean: true},
	}
}

func makeHost(_ context.Context, s *stage) ([]string, error) {
	if err := mounts(); err != nil {
		return nil, err
	}
	host, err := s.Host.Links()
	if err != nil {
		return nil, err
	}
	if s.neighbour, err = addNeighbour(host); err != nil {
		return nil, err
	}
	if err := s.neighbour.serve(80); err != nil {
		return nil, err
	}
	s.before, err = s.inventory()
	return []string{fmt.Sprintf("host %s, a neighbour %s that knows no way to the containers", uplinkAddr.Addr(), neighbourAddr.Addr())}, err
}

func installPlugins(_ context.Context, s *stage) ([]string, error) {
	var names []string
	for name := range s.Builtins {
		names = append(names, name)
	}
	slices.Sort(names)
	return []string{strings.Join(names, " ")}, s.Install(binDir)
}

func loadNetworks(_ context.Context, s *stage) ([]string, error) {
	err := fs.WalkDir(examples.Demo, "demo", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := examples.Demo.ReadFile(path)
		if err != nil {
			return err
		}
		if filepath.Ext(path) == ".conflist" {
			return os.WriteFile(filepath.Join(confDir, d.Name()), data, 0o644)
		}
		return os.WriteFile(filepath.Join(binDir, d.Name()), data, 0o755)
	})
	if err != nil {
		return nil, err
	}
	all, err := seam.LoadAll(confDir)
	var said []string
	for _, n := range all {
		s.networks[n.Name] = n
		var chain []string
		for _, p := range n.Plugins {
			chain = append(chain, p.Type)
		}
		said = append(said, fmt.Sprintf("%-5s %s", n.Name, strings.Join(chain, " → ")))
	}
	return said, err
}

// attach makes a container and attaches it, with a port of the host if one is given.
func (s *stage) attach(ctx context.Context, network, name string, ports ...cni.PortMapping) (string, error) {
	p, err := newPod(name)
	if p != nil {
		s.pods = append(s.pods, p)
	}
	if err != nil {
		return "", err
	}
	p.network = network
	if err := p.serve(80); err != nil {
		return "", err
	}
	c := p.container()
	if len(ports) > 0 {
		value, err := json.Marshal(ports)
		if err != nil {
			return "", err
		}
		c.Capabilities = map[string]json.RawMessage{cni.CapabilityPorts: value}
	}
	s.steps = nil
	result, err := s.rt.Attach(ctx, s.networks[network], c)
	if err != nil {
		return "", err
	}
	for _, ip := range result.PodIPs("eth0") {
		p.addrs = append(p.addrs, ip.Address.Addr())
	}
	return fmt.Sprintf("%-6s %-28s %s", name, addresses(p.addrs), s.times()), nil
}

func (p *pod) container() seam.Container {
	return seam.Container{ID: p.name, IfName: "eth0", NetNS: p.path}
}

// times tells how long each plugin of the last operation took.
func (s *stage) times() string {
	var words []string
	for _, step := range s.steps {
		if step.Depth == 0 {
			words = append(words, fmt.Sprintf("%s %.1f ms", step.Plugin, step.Duration.Seconds()*1000))
		}
	}
	return strings.Join(words, " → ")
}

func addresses(addrs []netip.Addr) string {
	var words []string
	for _, a := range addrs {
		words = append(words, a.String())
	}
	return strings.Join(words, " ")
}

func attachThree(ctx context.Context, s *stage) ([]string, error) {
	var said []string
	for _, name := range []string{"web", "db", "probe"} {
		var ports []cni.PortMapping
		if name == "web" {
			ports = []cni.PortMapping{{HostPort: 8080, ContainerPort: 80, Protocol: "tcp"}}
		}
		line, err := s.attach(ctx, "demo", name, ports...)
		if err != nil {
			return said, err
		}
		said = append(said, line)
	}
	return said, nil
}

func attachWrapped(ctx context.Context, s *stage) ([]string, error) {
	line, err := s.attach(ctx, "told", "job")
	if err != nil {
		return nil, err
	}
	if _, err := expect(s.pod("job"), netip.AddrPortFrom(s.pod("web").addrs[0], 80), "web"); err != nil {
		return nil, err
	}
	log, err := os.ReadFile(toldLog)
	return []string{line, "the script wrote: " + strings.TrimSpace(string(log))}, err
}

func checkAll(ctx context.Context, s *stage) ([]string, error) {
	var errs []error
	for _, p := range s.pods {
		if err := s.rt.Check(ctx, s.networks[p.network], p.container()); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.name, err))
		}
	}
	return nil, errors.Join(errs...)
}

func detachAll(ctx context.Context, s *stage) ([]string, error) {
	var errs []error
	for _, p := range s.pods {
		if n := s.networks[p.network]; n != nil {
			errs = append(errs, s.rt.Detach(ctx, n, p.container()))
		}
		errs = append(errs, p.remove())
	}
	return nil, errors.Join(errs...)
}

func (s *stage) pod(name string) *pod {
	i := slices.IndexFunc(s.pods, func(p *pod) bool { return p.name == name })
	return s.pods[i]
}
