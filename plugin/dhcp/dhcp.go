// Package dhcp leases addresses from the DHCP servers of the network that an
// interface is on (RFC 2131; IPv4). The plugin is executed and ends; the daemon
// stays and keeps what it leased, until DEL or GC.
//
// Both are here, because they share the records on disk: a lease is written down
// before a server is asked for it, so that a daemon that was killed takes up where it
// was, and so that DEL and GC release leases even while no daemon runs.
//
// It is no DHCP server, and does not speak DHCPv6. To debug: the daemon logs what it
// does; the records are the files in the folder beside its socket; tcpdump -n port 67
// shows the messages.
package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/seamnet/seam/cni"
)

// New returns the plugin.
func New() cni.Plugin { return plugin{} }

type plugin struct{}

// How long the daemon may take to answer. To lease an address takes it as long as its
// own limits say, or this.
const (
	longestLease  = 5 * time.Minute
	longestOther  = 40 * time.Second
	longestStatus = 2 * time.Second
)

func (plugin) Add(ctx context.Context, r *cni.Request) (*cni.Result, error) {
	conf, q, err := load(r)
	if err != nil {
		return nil, err
	}
	q.Do = add
	t, err := ask(ctx, conf.IPAM.DaemonSocketPath, q, longestLease)
	if err != nil {
		return nil, explain(r, err)
	}
	return t.result(conf.IPAM.Priority), nil
}

// Check wants the lease to be held and its address to be the result's, and has it
// renewed. A lease that the daemon does not know is taken up again: of a pod that the
// reference's daemon has served, which remembers nothing over its end.
func (plugin) Check(ctx context.Context, r *cni.Request) error {
	if r.Prev == nil {
		return explain(r, cni.Errorf(cni.CodeInvalidConfig, "CHECK needs a prevResult"))
	}
	conf, q, err := load(r)
	if err != nil {
		return err
	}
	q.Do = check
	for _, ip := range r.Prev.PodIPs(r.IfName) {
		if ip.Address.Addr().Is4() {
			q.Addresses = append(q.Addresses, ip.Address)
		}
	}
	t, err := ask(ctx, conf.IPAM.DaemonSocketPath, q, longestOther)
	if err == nil && !slices.Contains(q.Addresses, t.Address) {
		err = fmt.Errorf("address %s is leased, but not in the result", t.Address)
	}
	return explain(r, err)
}

func (plugin) Del(ctx context.Context, r *cni.Request) error {
	q := question{Do: del, Attachment: r.Attachment}
	return explain(r, undo(ctx, socketOf(r), q, func(b *book) error {
		l, err := b.load(r.Tag())
		if err != nil || l == nil {
			return errors.Join(err, b.remove(r.Tag()))
		}
		return b.end(l)
	}))
}

func (plugin) GC(ctx context.Context, r *cni.Request) error {
	if r.Valid == nil {
		return nil
	}
	q := question{Do: gc, Attachment: cni.Attachment{Network: r.Network}, Valid: r.Valid}
	return explain(r, undo(ctx, socketOf(r), q, func(b *book) error {
		leases, err := b.list()
		errs := []error{err}
		for _, l := range leases {
			if q.stale(l.Attachment) {
				errs = append(errs, b.end(l))
			}
		}
		return errors.Join(errs...)
	}))
}

func (plugin) Status(ctx context.Context, r *cni.Request) error {
	conf := new(Config)
	err := r.Decode(conf)
	if err == nil {
		_, err = ask(ctx, conf.IPAM.DaemonSocketPath, question{Do: status}, longestStatus)
		err = explain(r, err)
	}
	if err != nil {
		return cni.Errorf(cni.CodeNotAvailable, "%w", err)
	}
	return nil
}

// load returns the configuration, and what of a question it decides.
func load(r *cni.Request) (*Config, question, error) {
	q := question{Attachment: r.Attachment}
	conf := new(Config)
	err := r.Decode(conf)
	if err != nil {
		return nil, q, err
	}
	// The daemon has another working folder.
	if q.NetNS, err = filepath.Abs(r.NetNS); err != nil || r.NetNS == "" {
		return nil, q, explain(r, cni.Errorf(cni.CodeInvalidNetNS, "namespace %q: must be a path", r.NetNS))
	}
	q.Options, err = conf.options(r.Args)
	return conf, q, explain(r, err)
}

// explain says which network an error is of.
func explain(r *cni.Request, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("dhcp: network %q: %w", r.Network, err)
}

// terms are what a server grants with an address.
type terms struct {
	Address netip.Prefix `json:"address,omitzero"`
	Gateway netip.Addr   `json:"gateway,omitzero"`
	Routes  []cni.Route  `json:"routes,omitempty"`
}

func (t *terms) result(priority int) *cni.Result {
	for i := range t.Routes {
		t.Routes[i].Priority = priority
	}
	return &cni.Result{IPs: []cni.IP{{Address: t.Address, Gateway: t.Gateway}}, Routes: t.Routes}
}
