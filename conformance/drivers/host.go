package drivers

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/conformance"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/netns/scratch"
)

// The host that a check runs on, unless the driver runs on this one already, has one
// cable, to a host that knows no way to containers.
const (
	Uplink     = "eth0" // the host's end: what drivers name as parent
	sandboxDir = "/run/conformance/netns"
)

var (
	hostAddrs    = [2]netip.Prefix{netip.MustParsePrefix("192.0.2.2/24"), netip.MustParsePrefix("2001:db8::2/64")}
	outsideAddrs = [2]netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("2001:db8::1/64")}
)

// An engine is the suite in the part of Docker's, and the check that it plays it for.
type engine struct {
	*conformance.T
	target  Target
	here    bool     // on the host where the suite was started
	kinds   []string // that the driver says it implements
	driver  *process // nil: the suite did not start it
	links   *link.Handle
	outside *sandbox // nil if here

	patience time.Duration // what a call has

	mu      sync.Mutex
	subnets int // handed out by the suite
}

// cleanup is Cleanup for several goroutines.
func (e *engine) cleanup(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.Cleanup(f)
}

func (c *check) carryOut(t *conformance.T, target Target) {
	e := &engine{T: t, target: target, here: len(target.Command) == 0, patience: mostPatience}
	if c.needs&command != 0 && e.here {
		e.Skipf("needs the command that starts the driver, as it is to be killed")
	}
	var err error
	e.links, err = link.Open()
	e.Must(err)
	if !e.here {
		e.cable()
		e.start()
	}
	e.activate()
	if c.needs&networks != 0 && !e.is(networkKind) {
		e.Skipf("the driver is no network driver: it implements %q", e.kinds)
	}
	if c.needs&addresses != 0 && !e.is(ipamKind) {
		e.Skipf("the driver is no IPAM driver: it implements %q", e.kinds)
	}
	c.run(e)
}

// Kinds of drivers.
const (
	networkKind = "NetworkDriver"
	ipamKind    = "IpamDriver"
)

func (e *engine) is(kind string) bool { return slices.Contains(e.kinds, kind) }

// activate asks the driver what it is.
func (e *engine) activate() {
	e.kinds = nil
	for _, socket := range e.sockets() {
		var m struct{ Implements []string }
		if err := e.ask(socket, "Plugin.Activate", nil, &m); err != nil {
			e.Fatalf("%v", err)
		}
		e.kinds = append(e.kinds, m.Implements...)
	}
}

func (e *engine) sockets() []string {
	sockets := []string{e.target.place(e.target.Socket)}
	if e.target.IPAMSocket != "" {
		sockets = append(sockets, e.target.place(e.target.IPAMSocket))
	}
	return sockets
}

// cable connects the host with the one outside.
func (e *engine) cable() {
	e.outside = e.newSandbox("outside")
	e.Must(e.links.AddVeth(link.Veth{Name: Uplink, PeerName: Uplink, PeerNS: e.outside.ns}))
	e.configure(e.links, hostAddrs)
	e.configure(e.outside.links, outsideAddrs)
	l, err := e.links.ByName(Uplink)
	e.Must(err)
	for _, a := range outsideAddrs {
		e.Must(e.links.AddRoute(l, link.Route{Route: cni.Route{Dst: netip.PrefixFrom(unspecified(a.Addr()), 0), GW: a.Addr()}}))
	}
}

func (e *engine) configure(links *link.Handle, addrs [2]netip.Prefix) {
	l, err := links.ByName(Uplink)
	e.Must(err)
	for _, a := range addrs {
		e.Must(links.AddAddr(l, link.Addr{Prefix: a, NoDAD: true}))
	}
	e.Must(links.Set(l, link.Change{Up: true}))
}

func unspecified(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// A sandbox is a container's network namespace, or another host.
type sandbox struct {
	Key   string // the path
	ns    *netns.Namespace
	links *link.Handle
	count int // of interfaces that were moved in
}

// newSandbox makes a namespace with lo up.
func (e *engine) newSandbox(name string) *sandbox {
	s := &sandbox{Key: filepath.Join(sandboxDir, name)}
	e.Must(s.open())
	e.cleanup(s.remove)
	return s
}

func (s *sandbox) open() (err error) {
	if s.ns, err = netns.NewAt(s.Key); err != nil {
		return err
	}
	if err := s.ns.Do(func() error { return scratch.Up("lo") }); err != nil {
		return err
	}
	s.links, err = link.In(s.ns)
	return err
}

// remove ends the namespace, with what is in it: as when a container's processes have
// ended. Its path may be gone; twice is once.
func (s *sandbox) remove() {
	if s.ns == nil {
		return
	}
	_ = errors.Join(s.links.Close(), s.ns.Close(), netns.Remove(s.Key)) // a test's end, or a crash that is played
	s.ns = nil
	_, _ = os.Remove(sandboxDir), os.Remove(filepath.Dir(sandboxDir)) // if it was the last
}

// sandboxKey returns a path for the next sandbox.
func sandboxKey() string { return filepath.Join(sandboxDir, newID()[:12]) }

// notThere is of what was to go away.
func (e *engine) notThere(name string) error {
	l, err := e.links.ByName(name)
	if link.Missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("link %s is still on the host", l.Name)
}
