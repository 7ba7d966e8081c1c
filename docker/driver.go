package docker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/docker/ahead"
	"github.com/seamnet/seam/docker/engine"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/state"
)

// Config is what a Driver works with.
type Config struct {
	Name     string        // of the driver, as in docker network create -d NAME. Networks store it for ever
	StateDir string        // what must outlive a reboot, as the engine's own state does
	RunDir   string        // what ends with the kernel's state: on a tmpfs
	ConfDir  string        // of the networks' files
	Runtime  *seam.Runtime // runs the chains
	Engine   Engine        // nil: names and labels stay unknown, and nothing is found stale
	Log      *slog.Logger  // required

	CollectEvery time.Duration // between two looks for what is stale; 0: DefaultCollectEvery
}

// DefaultCollectEvery is how often the driver compares what it has with the engine.
const DefaultCollectEvery = time.Minute

// An Engine answers questions about what it asked the driver for. Each call is bounded in
// time. Errors are of an engine that did not answer, or, where they match fs.ErrNotExist, of
// one that knows of no such thing.
type Engine interface {
	// Container returns the container that the endpoint is of.
	Container(ctx context.Context, network cnm.NetworkID, endpoint cnm.EndpointID) (*engine.Container, error)

	// Endpoints returns the networks of a driver with the endpoints that they have, and the
	// names of their containers.
	Endpoints(ctx context.Context, driver string) (map[cnm.NetworkID]map[cnm.EndpointID]string, error)

	// LiveRestore reports whether the engine leaves containers running when it ends.
	LiveRestore(ctx context.Context) (bool, error)

	// Addresses returns what the engine has of an IPAM driver.
	Addresses(ctx context.Context, ipam string) (*engine.Addresses, error)
}

// A Driver is a network driver and an IPAM driver. Its methods may be called concurrently.
type Driver struct {
	*IPAM
	conf Config
	host *link.Handle // the links of the namespace that the driver was made in
	desk *ahead.Desk

	endpoints book[endpoint]
	networks  book[network]
	busy      sync.WaitGroup // of goroutines
	stop      context.CancelFunc
	life      context.Context // ends with Close: of what goes on after a call is answered
	unlock    func()
	asking    sync.Mutex // guards what follows
	silent    time.Time  // until then the engine is not asked for names
	live      bool       // whether it leaves containers running when it ends,
	liveUntil time.Time  // as is believed until then

	fresh         sync.Mutex    // guards freshSettings
	freshSettings link.Settings // of a namespace in which nothing was done; nil: not read yet

	ports     sync.Mutex // while published ones are chosen
	waiting   atomic.Int64
	collected atomic.Int64
}

// New opens the driver's folders and reads what is in them. No second driver can use them
// until Close.
func New(conf Config) (*Driver, error) {
	if conf.CollectEvery <= 0 {
		conf.CollectEvery = DefaultCollectEvery
	}
	unlock, err := state.TryLock(conf.StateDir)
	if errors.Is(err, state.ErrLocked) {
		return nil, fmt.Errorf("state of driver %s: %s: %w: is a driver running on it already?", conf.Name, conf.StateDir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("state of driver %s: %w", conf.Name, err)
	}
	d := &Driver{conf: conf, unlock: unlock}
	if err := d.open(); err != nil {
		unlock()
		return nil, fmt.Errorf("driver %s: %w", conf.Name, err)
	}
	d.life, d.stop = context.WithCancel(context.Background())
	return d, nil
}

func (d *Driver) open() (err error) {
	d.networks = book[network]{dir: filepath.Join(d.conf.StateDir, "networks")}
	d.endpoints = book[endpoint]{dir: filepath.Join(d.conf.StateDir, "endpoints")}
	// What cannot be read is told and left: the rest must go on being served.
	if err := errors.Join(d.networks.load((*network).id), d.endpoints.load((*endpoint).id)); err != nil {
		d.conf.Log.Error("records passed over", "err", err)
	}
	if d.host, err = link.Open(); err != nil {
		return err
	}
	d.desk = &ahead.Desk{Runtime: d.conf.Runtime, NetNS: filepath.Join(d.conf.RunDir, "empty")}
	d.IPAM = &IPAM{Name: d.conf.Name, Desk: d.desk, ConfDir: d.conf.ConfDir, StateDir: d.conf.StateDir, Now: d.conf.Runtime.Now}
	ctx, cancel := context.WithTimeout(context.Background(), restoreTime)
	defer cancel()
	if err := d.IPAM.Restore(ctx); err != nil {
		d.conf.Log.Error("addresses not as they were", "err", err)
	}
	return nil
}

// restoreTime bounds what is done before engines are answered.
const restoreTime = 10 * time.Second

// Close lets go of the driver's folders. What Run does must have ended.
func (d *Driver) Close() error {
	d.stop()
	d.busy.Wait()
	d.unlock()
	return d.host.Close()
}

// Capabilities says that networks are of this host alone.
func (d *Driver) Capabilities(context.Context) (cnm.Capabilities, error) {
	return cnm.Capabilities{Scope: cnm.ScopeLocal, Connectivity: cnm.ScopeLocal}, nil
}

// Stats are numbers of what there is, and was done since New.
type Stats struct {
	Networks, Endpoints int
	Joined              int   // endpoints in a sandbox
	Pending             int64 // sandboxes that are waited for
	Collected           int64 // stale endpoints and networks removed
}

// Stats returns the numbers of this moment.
func (d *Driver) Stats() Stats {
	s := Stats{Networks: d.networks.count(), Pending: d.waiting.Load(), Collected: d.collected.Load()}
	for _, e := range d.endpoints.all() {
		s.Endpoints++
		if e.Sandbox != "" {
			s.Joined++
		}
	}
	return s
}
