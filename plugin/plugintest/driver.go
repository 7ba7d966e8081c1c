package plugintest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/cnm/wire"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns"
)

// A Driver is a network driver and an IPAM driver of Docker's: real, in that its networks are
// bridges and its endpoints veths, and strict, in that it refuses to remove what it does not
// have. What it has is in memory.
type Driver struct {
	Name string
	Dir  string // of its socket

	Scope   cnm.Scope    // default: local
	Null    bool         // it sets namespaces up itself, and names no link
	Chooses netip.Prefix // the first address that it gives where it is told none
	MAC     bool         // its IPAM wants MAC addresses

	// Chosen and Joined are answered by CreateEndpoint and Join in the place of the truth,
	// unless they are nil.
	Chosen *cnm.Interface
	Joined *cnm.Joined

	// Before and After are called around each verb but the capabilities; an error of Before
	// is the answer, and the verb is not done. Nil: nothing.
	Before, After func(verb string) error

	mu        sync.Mutex
	host      *link.Handle
	calls     []string
	networks  map[cnm.NetworkID]*cnm.Network
	endpoints map[cnm.EndpointID]*cnm.Endpoint
	joined    map[cnm.EndpointID]*cnm.Join
	published map[cnm.EndpointID]*cnm.Join
	pools     map[cnm.PoolID]*driverPool
	stop      func()
}

type driverPool struct {
	subnet, within netip.Prefix
	count          int
	taken          map[netip.Addr]bool
}

// NewDriver returns a driver that is served until the test ends, or Stop.
func NewDriver(t testing.TB, name string) *Driver {
	t.Helper()
	d := &Driver{
		Name: name, Dir: t.TempDir(), host: Links(t, nil),
		networks: map[cnm.NetworkID]*cnm.Network{}, endpoints: map[cnm.EndpointID]*cnm.Endpoint{},
		joined: map[cnm.EndpointID]*cnm.Join{}, published: map[cnm.EndpointID]*cnm.Join{}, pools: map[cnm.PoolID]*driverPool{},
	}
	d.Serve(t)
	t.Cleanup(func() { d.Stop() })
	return d
}

// Serve serves the driver, with what it has, again.
func (d *Driver) Serve(t testing.TB) {
	t.Helper()
	l, err := wire.Listen(filepath.Join(d.Dir, d.Name+".sock"))
	Must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	server := &wire.Server{Name: d.Name, Driver: d, IPAM: d}
	go func() { ended <- server.Serve(ctx, l) }()
	d.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		d.stop = nil
	}
}

// Stop ends the service; what the driver has stays.
func (d *Driver) Stop() {
	if d.stop != nil {
		d.stop()
	}
}

// Forget makes the driver one that has just been started and keeps nothing. Its bridges go,
// too, but for the veths.
func (d *Driver) Forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id := range d.networks {
		_ = d.host.Delete(driverBridge(id))
	}
	clear(d.networks)
	clear(d.endpoints)
	clear(d.joined)
	clear(d.published)
	clear(d.pools)
}

// Calls returns the verbs since the last time.
func (d *Driver) Calls() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	calls := d.calls
	d.calls = nil
	return calls
}

// Has describes, sorted, what the driver has: what a test compares.
func (d *Driver) Has() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []string
	for id := range d.networks {
		all = append(all, "network "+string(id[:8]))
	}
	for id := range d.endpoints {
		all = append(all, "endpoint "+string(id[:8]))
	}
	for id := range d.joined {
		all = append(all, "joined "+string(id[:8]))
	}
	for id := range d.published {
		all = append(all, "published "+string(id[:8]))
	}
	for _, p := range d.pools {
		for _, a := range slices.SortedFunc(maps.Keys(p.taken), netip.Addr.Compare) {
			all = append(all, "address "+a.String())
		}
		all = append(all, fmt.Sprintf("pool %s, %d times", p.subnet, p.count))
	}
	slices.Sort(all)
	return all
}

// Network, Endpoint and Published return what it was asked for last, of the only one.
func (d *Driver) Network() *cnm.Network   { return only(d, d.networks) }
func (d *Driver) Endpoint() *cnm.Endpoint { return only(d, d.endpoints) }
func (d *Driver) Published() *cnm.Join    { return only(d, d.published) }

func only[K comparable, V any](d *Driver, all map[K]*V) *V {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, v := range all {
		return v
	}
	return nil
}

// do runs a verb between Before and After.
func (d *Driver) do(verb string, do func() error) error {
	d.mu.Lock()
	d.calls = append(d.calls, verb)
	d.mu.Unlock()
	if d.Before != nil {
		if err := d.Before(verb); err != nil {
			return err
		}
	}
	d.mu.Lock()
	err := do()
	d.mu.Unlock()
	if d.After != nil {
		err = errors.Join(err, d.After(verb))
	}
	return err
}

func (d *Driver) Capabilities(context.Context) (cnm.Capabilities, error) {
	return cnm.Capabilities{Scope: d.Scope}, nil
}

func driverBridge(id cnm.NetworkID) string { return "dk" + string(id[:8]) }

// veth returns the names of an endpoint's ends.
func veth(id cnm.EndpointID) (outer, inner string) {
	return "do" + string(id[:8]), "di" + string(id[:8])
}

func (d *Driver) CreateNetwork(_ context.Context, n *cnm.Network) error {
	return d.do("CreateNetwork", func() error {
		if d.networks[n.ID] != nil {
			return errors.New("network is there already")
		}
		name := driverBridge(n.ID)
		if err := d.host.AddBridge(link.Bridge{Name: name}); err != nil {
			return err
		}
		l, err := d.host.ByName(name)
		if err != nil {
			return err
		}
		for _, p := range n.Pools {
			if p.Gateway.IsValid() {
				err = errors.Join(err, d.host.AddAddr(l, link.Addr{Prefix: p.Gateway, NoDAD: true}))
			}
		}
		d.networks[n.ID] = n
		return errors.Join(err, d.host.Set(l, link.Change{Up: true}))
	})
}

func (d *Driver) DeleteNetwork(_ context.Context, id cnm.NetworkID) error {
	return d.do("DeleteNetwork", func() error {
		if d.networks[id] == nil {
			return errors.New("no such network")
		}
		delete(d.networks, id)
		return d.host.Delete(driverBridge(id))
	})
}

func (d *Driver) CreateEndpoint(_ context.Context, e *cnm.Endpoint) (*cnm.Interface, error) {
	var chosen cnm.Interface
	err := d.do("CreateEndpoint", func() error {
		if d.networks[e.Network] == nil || d.endpoints[e.ID] != nil {
			return errors.New("no such network, or the endpoint is there already")
		}
		d.endpoints[e.ID] = e
		outer, inner := veth(e.ID)
		if err := d.host.AddVeth(link.Veth{Name: outer, PeerName: inner}); err != nil {
			return err
		}
		master, err := d.host.ByName(driverBridge(e.Network))
		if err != nil {
			return err
		}
		if e.Interface.MAC == nil {
			chosen.MAC = net.HardwareAddr{2, 0x42, 1, 2, 3, byte(len(d.endpoints))}
		}
		if len(e.Interface.Addresses) == 0 && d.Chooses.IsValid() {
			a := d.Chooses.Addr()
			for range len(d.endpoints) - 1 {
				a = a.Next()
			}
			chosen.Addresses = []netip.Prefix{netip.PrefixFrom(a, d.Chooses.Bits())}
		}
		is := *e
		is.Interface.Addresses = slices.Concat(e.Interface.Addresses, chosen.Addresses)
		d.endpoints[e.ID] = &is
		return d.host.Set(link.Link{Name: outer}, link.Change{Up: true, Master: master.Index})
	})
	if d.Chosen != nil {
		return d.Chosen, err
	}
	return &chosen, err
}

func (d *Driver) DeleteEndpoint(_ context.Context, _ cnm.NetworkID, id cnm.EndpointID) error {
	return d.do("DeleteEndpoint", func() error {
		if d.endpoints[id] == nil {
			return errors.New("no such endpoint")
		}
		outer, inner := veth(id)
		delete(d.endpoints, id)
		if _, err := d.host.ByName(inner); err != nil && d.joined[id] == nil && !d.Null {
			return fmt.Errorf("the engine has not brought it back: %w", err)
		}
		delete(d.joined, id)
		if err := d.host.Delete(outer); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

func (d *Driver) Join(_ context.Context, j *cnm.Join) (*cnm.Joined, error) {
	answer := &cnm.Joined{}
	err := d.do("Join", func() error {
		e := d.endpoints[j.Endpoint]
		if e == nil || d.joined[j.Endpoint] != nil {
			return errors.New("no such endpoint, or it has joined")
		}
		d.joined[j.Endpoint] = j
		for _, p := range d.networks[e.Network].Pools {
			if p.Gateway.IsValid() {
				answer.Gateways = append(answer.Gateways, p.Gateway.Addr())
			}
		}
		_, inner := veth(e.ID)
		if d.Null {
			return d.setUp(inner, e, j)
		}
		answer.Link = &cnm.Link{Name: inner, Prefix: "eth"}
		answer.Routes = []cnm.Route{{Dst: netip.MustParsePrefix("198.51.100.0/24")}}
		for _, g := range answer.Gateways {
			if g.Is4() {
				answer.Routes = append(answer.Routes, cnm.Route{Dst: netip.MustParsePrefix("203.0.113.0/24"), NextHop: g})
			}
		}
		return nil
	})
	if d.Joined != nil {
		return d.Joined, err
	}
	return answer, err
}

// setUp makes the interface in the sandbox what it is to be.
func (d *Driver) setUp(inner string, e *cnm.Endpoint, j *cnm.Join) error {
	ns, err := netns.Open(j.Sandbox)
	if err != nil {
		return err
	}
	defer ns.Close()
	pod, err := link.In(ns)
	if err != nil {
		return err
	}
	defer pod.Close()
	l, err := d.host.ByName(inner)
	if err != nil {
		return err
	}
	if err := d.host.Move(l, link.Move{To: pod, Name: e.Name}); err != nil {
		return err
	}
	if l, err = pod.ByName(e.Name); err != nil {
		return err
	}
	for _, p := range e.Interface.Addresses {
		if err := pod.AddAddr(l, link.Addr{Prefix: p, NoDAD: true}); err != nil {
			return err
		}
	}
	return pod.Set(l, link.Change{Up: true})
}

func (d *Driver) Leave(_ context.Context, _ cnm.NetworkID, id cnm.EndpointID) error {
	return d.do("Leave", func() error {
		if d.joined[id] == nil {
			return errors.New("no such endpoint, or it has not joined")
		}
		delete(d.joined, id)
		return nil
	})
}

func (d *Driver) EndpointInfo(_ context.Context, _ cnm.NetworkID, id cnm.EndpointID) (map[string]any, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.endpoints[id] == nil {
		return nil, errors.New("no such endpoint")
	}
	return nil, nil
}

func (d *Driver) Program(_ context.Context, j *cnm.Join) error {
	return d.do("Program", func() error {
		if d.joined[j.Endpoint] == nil {
			return errors.New("no such endpoint, or it has not joined")
		}
		d.published[j.Endpoint] = j
		return nil
	})
}

func (d *Driver) Revoke(_ context.Context, _ cnm.NetworkID, id cnm.EndpointID) error {
	return d.do("Revoke", func() error {
		if d.published[id] == nil {
			return errors.New("nothing is published")
		}
		delete(d.published, id)
		return nil
	})
}
