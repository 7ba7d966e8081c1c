package cnm

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/state"
)

// A book is what is known of one network of CNI's at its driver: a folder with a record of
// the network and one of each endpoint. Drivers keep theirs over a reboot, so it does too.
type book struct {
	dir   string
	locks string // a folder to lock that stays as long as there are processes
}

func bookOf(h *plugin.Host, network string) *book {
	name := cni.NetworkTag(network).Hash(16)
	return &book{dir: filepath.Join(h.Dirs.Drivers, name), locks: filepath.Join(h.State("cnm"), name)}
}

// lockTime bounds the wait for who makes or removes the network, which can be several
// calls of a slow driver.
const lockTime = 2 * time.Minute

func (b *book) lock(ctx context.Context) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, lockTime)
	defer cancel()
	return state.Lock(ctx, b.locks)
}

func (b *book) networkFile() string { return filepath.Join(b.dir, "network.json") }

// network returns nil if there is none.
func (b *book) network() (*network, error) {
	n, err := state.Read[network](b.networkFile())
	if n != nil {
		n.book = b
	}
	return n, err
}

const endpoints = "endpoints"

func (b *book) endpointFile(id cnm.EndpointID) string {
	return filepath.Join(b.dir, endpoints, string(id)+".json")
}

// endpoint returns nil if there is none. Of a record that cannot be read any more, what is
// known is its name: it may have come to anything.
func (b *book) endpoint(id cnm.EndpointID) (*endpoint, error) {
	e, err := state.Read[endpoint](b.endpointFile(id))
	if errors.Is(err, state.ErrUnreadable) {
		e, err = &endpoint{Created: begun, Joined: begun}, nil
	}
	if e != nil {
		e.ID, e.book = id, b
	}
	return e, err
}

// endpoints returns them all, and errors for those that cannot be read for the moment.
func (b *book) endpoints() (all []*endpoint, err error) {
	dir := filepath.Join(b.dir, endpoints)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	errs := []error{err, state.Sweep(dir)}
	for _, entry := range entries {
		id, ok := strings.CutSuffix(entry.Name(), ".json")
		if !ok {
			continue
		}
		e, err := b.endpoint(cnm.EndpointID(id))
		if e != nil {
			all = append(all, e)
		}
		errs = append(errs, err)
	}
	return all, errors.Join(errs...)
}

// remove removes the network's record, and the folders, which are empty then.
func (b *book) remove() error {
	err := state.Remove(b.networkFile())
	if err == nil {
		_ = os.Remove(filepath.Join(b.dir, endpoints))
		_ = os.Remove(b.dir)
	}
	return err
}
