package hostlocal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/ipam"
	"golang.org/x/sys/unix"
)

// bootIDFile names the running boot of the host.
const bootIDFile = "/proc/sys/kernel/random/boot_id"

// New returns the plugin. leaseDir is where leases are kept when the configuration
// has no dataDir.
func New(leaseDir string) cni.Plugin { return newPlugin(leaseDir, bootIDFile) }

func newPlugin(leaseDir, bootIDFile string) *hostLocal {
	return &hostLocal{leaseDir, sync.OnceValues(func() (string, error) {
		data, err := os.ReadFile(bootIDFile)
		id := strings.TrimSpace(string(data))
		if err == nil && id == "" {
			err = fmt.Errorf("boot ID %s: empty", bootIDFile)
		}
		return id, err
	})}
}

type hostLocal struct {
	leaseDir string
	bootID   func() (string, error)
}

func (p *hostLocal) Add(ctx context.Context, r *cni.Request) (*cni.Result, error) {
	conf, err := decode(r)
	if err != nil {
		return nil, err
	}
	wanted, err := conf.requested(r.Args)
	if err != nil {
		return nil, explain(r, err)
	}
	result := &cni.Result{Routes: conf.IPAM.Routes}
	if result.DNS, err = readResolvConf(conf.IPAM.ResolvConf); err != nil {
		return nil, explain(r, err)
	}
	b, err := p.open(ctx, r, conf.IPAM.DataDir, (*book).create)
	if err != nil {
		return nil, explain(r, err)
	}
	defer b.close()
	addrs, err := allocate(ctx, b, conf.sets, wanted, holderOf(r.Attachment))
	if err != nil {
		return nil, explain(r, err)
	}
	for i, a := range addrs {
		from, _ := conf.sets[i].Find(a)
		result.IPs = append(result.IPs, cni.IP{Address: from.Prefix(a), Gateway: from.Gateway})
	}
	return result, nil
}

func (p *hostLocal) Check(ctx context.Context, r *cni.Request) error {
	if r.Prev == nil {
		return explain(r, cni.Errorf(cni.CodeInvalidConfig, "CHECK needs a prevResult"))
	}
	b, err := p.open(ctx, r, dataDir(r), (*book).open)
	if errors.Is(err, fs.ErrNotExist) {
		return explain(r, errNoLease(r))
	}
	if err != nil {
		return explain(r, err)
	}
	defer b.close()
	if err := b.load(); err != nil {
		return explain(r, err)
	}
	_, held, err := b.find(holderOf(r.Attachment))
	if err != nil {
		return explain(r, err)
	}
	return explain(r, compare(r, held))
}

// compare returns an error if the leases are not those of the result. What else
// the result holds is of other plugins, as far as the ranges tell; that they are no
// longer valid is no reason to fail.
func compare(r *cni.Request, held []netip.Addr) error {
	var sets []ipam.Set
	if conf, err := decode(r); err == nil {
		sets = conf.sets
	}
	found := false
	for _, ip := range r.Prev.IPs {
		a := ip.Address.Addr().Unmap()
		if slices.Contains(held, a) {
			found = true
			continue
		}
		if slices.ContainsFunc(sets, func(s ipam.Set) bool { return s.Contains(a) }) {
			return fmt.Errorf("address %s is not leased to %s", a, holderOf(r.Attachment))
		}
	}
	if !found {
		return errNoLease(r)
	}
	return nil
}

func errNoLease(r *cni.Request) error {
	return fmt.Errorf("no address of the result is leased to %s", holderOf(r.Attachment))
}

func (p *hostLocal) Del(ctx context.Context, r *cni.Request) error {
	b, err := p.open(ctx, r, dataDir(r), (*book).open)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return explain(r, err)
	}
	defer b.close()
	unread := b.load()
	h, _, err := b.find(holderOf(r.Attachment))
	if err == nil {
		err = b.release(h)
	}
	return explain(r, errors.Join(unread, err))
}

func (p *hostLocal) GC(ctx context.Context, r *cni.Request) error {
	if r.Valid == nil {
		return nil
	}
	b, err := p.open(ctx, r, dataDir(r), (*book).open)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return explain(r, err)
	}
	defer b.close()
	valid := make(map[holder]bool, 2*len(r.Valid))
	for _, a := range r.Valid {
		valid[holderOf(a)] = true
		valid[holderOf(a).old()] = true
	}
	errs := []error{b.list()}
	for h := range b.all {
		if !valid[h] {
			errs = append(errs, b.release(h))
		}
	}
	return explain(r, errors.Join(errs...))
}

func (p *hostLocal) Status(_ context.Context, r *cni.Request) error {
	conf, err := decode(r)
	if errors.Is(err, errNoRanges) {
		conf = new(Config) // they come with each attachment
	} else if err != nil {
		return cni.Errorf(cni.CodeNotAvailable, "%w", err)
	}
	b, err := p.book(r, dataDir(r))
	if err == nil {
		err = writable(b.dir)
	}
	if err != nil {
		return explain(r, cni.Errorf(cni.CodeNotAvailable, "%w", err))
	}
	for i, set := range conf.sets {
		// Without the lock: who asks wants to know, not to wait.
		_, err := set.Take(b.cursor(i), b.free)
		if full, ok := errors.AsType[*ipam.FullError](err); ok {
			err = exhausted(cni.CodeNotAvailable, full)
		}
		if err != nil {
			return explain(r, cni.Errorf(cni.CodeNotAvailable, "%w", err))
		}
	}
	return nil
}

// writable reports why a folder cannot be written to, or why it could not be made.
func writable(dir string) error {
	err := unix.Access(dir, unix.W_OK|unix.X_OK)
	if parent := filepath.Dir(dir); errors.Is(err, fs.ErrNotExist) && parent != dir {
		return writable(parent)
	}
	if err != nil {
		return &fs.PathError{Op: "write to", Path: dir, Err: err}
	}
	return nil
}

// book returns the request's book, not opened.
func (p *hostLocal) book(r *cni.Request, dataDir string) (*book, error) {
	// The name becomes a path here, whoever calls.
	if err := cni.CheckNetworkName(r.Network); err != nil {
		return nil, err
	}
	boot, err := p.bootID()
	if err != nil {
		return nil, err
	}
	if dataDir == "" {
		dataDir = p.leaseDir
	}
	return newBook(dataDir, r.Network, boot), nil
}

// open returns the request's book, locked by the given method.
func (p *hostLocal) open(ctx context.Context, r *cni.Request, dataDir string, open func(*book, context.Context) error) (*book, error) {
	b, err := p.book(r, dataDir)
	if err != nil {
		return nil, err
	}
	return b, open(b, ctx)
}

// explain says which network an error is of; without a code of its own it is one
// of the disk's.
func explain(r *cni.Request, err error) error {
	switch {
	case err == nil:
		return nil
	case cni.CodeOf(err) == cni.CodeInternal:
		return cni.Errorf(cni.CodeIO, "host-local: network %q: %w", r.Network, err)
	}
	return fmt.Errorf("host-local: network %q: %w", r.Network, err)
}
