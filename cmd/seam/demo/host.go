package demo

import (
	"net/netip"
	"os"
	"path/filepath"

	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/netns/scratch"
)

// The demonstration's folders, on file systems in memory that only its process sees.
const (
	root     = "/run/seam-demo"
	confDir  = root + "/net.d"
	binDir   = root + "/bin"
	cacheDir = root + "/cache"
	toldLog  = "/run/told.log"
	netnsDir = "/run/netns"
)

// The neighbour is a host of another network: it knows no way to the containers.
const (
	neighbourName = "neighbour"
	uplinkName    = "uplink"
)

var (
	uplinkAddr    = netip.MustParsePrefix("203.0.113.1/24")
	neighbourAddr = netip.MustParsePrefix("203.0.113.2/24")
)

// mounts hides the real host's state from this process, which must be in a mount
// namespace of its own, and the other way round.
func mounts() error {
	if err := scratch.Enter("/run", "/var/lib"); err != nil {
		return err
	}
	for _, dir := range []string{confDir, binDir, cacheDir, netnsDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// addNeighbour makes the other host and the wire to it.
func addNeighbour(host *link.Handle) (*pod, error) {
	p, err := newPod(neighbourName)
	if err != nil {
		return nil, err
	}
	if err := host.AddVeth(link.Veth{Name: uplinkName, PeerName: "eth0", PeerNS: p.ns}); err != nil {
		return p, err
	}
	there, err := link.In(p.ns)
	if err != nil {
		return p, err
	}
	defer there.Close()
	if err := configure(there, "eth0", neighbourAddr); err != nil {
		return p, err
	}
	return p, configure(host, uplinkName, uplinkAddr)
}

func configure(h *link.Handle, name string, addr netip.Prefix) error {
	l, err := h.ByName(name)
	if err != nil {
		return err
	}
	if err := h.AddAddr(l, link.Addr{Prefix: addr}); err != nil {
		return err
	}
	return up(h, name)
}

func up(h *link.Handle, name string) error {
	l, err := h.ByName(name)
	if err != nil {
		return err
	}
	return h.Set(l, link.Change{Up: true})
}

// A pod is a namespace that stands for a container, or for the neighbour.
type pod struct {
	name, path string
	ns         *netns.Namespace
	network    string
	addrs      []netip.Addr
	servers    []*server
}

func newPod(name string) (*pod, error) {
	path := filepath.Join(netnsDir, name)
	ns, err := netns.NewAt(path)
	if err != nil {
		return nil, err
	}
	p := &pod{name: name, path: path, ns: ns}
	h, err := link.In(ns)
	if err != nil {
		return p, err
	}
	defer h.Close()
	return p, up(h, "lo")
}

// remove ends the pod as a runtime does: programs first, then the namespace.
func (p *pod) remove() error {
	for _, s := range p.servers {
		s.close()
	}
	p.ns.Close()
	return netns.Remove(p.path)
}
