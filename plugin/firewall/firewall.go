// Package firewall lets a pod's traffic pass the host's firewall, and keeps networks
// apart: the plugin "firewall", chained after one that makes an interface.
//
// The host's firewall is nftables, iptables or firewalld; each is a backend, in a
// file of its own, and is told the same record: what one attachment is to have. The
// records are files, by which DEL and GC undo what was done without being told
// anything. What iptables and firewalld get is what the reference plugin writes, so
// that either undoes the other's. This is not a place for a policy of pods by labels
// or ports.
//
// To see its work: nft list table inet seam and bridge seam, set walled and set isolated;
// iptables -S CNI-FORWARD; firewall-cmd --zone=trusted --list-sources.
package firewall

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/state"
)

// New returns the plugin on that host.
func New(h *plugin.Host) cni.Plugin { return newPlugin(h) }

func newPlugin(h *plugin.Host) *firewall {
	return &firewall{host: h, books: books{filepath.Join(h.Dirs.State, "firewall")}}
}

// Since is the oldest version that the plugin serves, as the reference has it.
func (p *firewall) Since() string { return "0.4.0" }

type firewall struct {
	host  *plugin.Host
	books books
}

// A backend does what records say in one of the host's firewalls. For put and drop the books
// are locked by the caller.
type backend interface {
	// put does it all, in addition to what is there already.
	put(ctx context.Context, rec *record) error
	// check reports everything that is not as put left it.
	check(ctx context.Context, rec *record) error
	// drop undoes it; what is gone is fine.
	drop(ctx context.Context, rec *record) error
	// available reports whether put could be served.
	available(ctx context.Context) error
}

func (p *firewall) backend(b Backend) backend {
	switch b {
	case IPTables:
		return &iptables{books: p.books}
	case Firewalld:
		return &firewalld{}
	}
	return &nftables{host: p.host, books: p.books}
}

func (p *firewall) Add(ctx context.Context, r *cni.Request) (*cni.Result, error) {
	conf, err := decode(r)
	if err != nil {
		return nil, err
	}
	want, err := p.newRecord(ctx, r, conf)
	if err != nil {
		return nil, err
	}
	// What an earlier ADD left behind was put by its record, not by this one.
	if err := p.Del(ctx, withoutPrev(r)); err != nil {
		return nil, err
	}
	unlock, err := p.books.lock(ctx, want)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := p.books.write(want); err != nil {
		return nil, err
	}
	for _, b := range p.backends(want) {
		if err := b.put(ctx, want); err != nil {
			return nil, err
		}
	}
	return r.Prev.Clone(), nil
}

func withoutPrev(r *cni.Request) *cni.Request {
	bare := *r
	bare.Prev = nil
	return &bare
}

// backends are the ones that have a part in the record: that of its addresses, and
// that of its walls, which for firewalld is another.
func (p *firewall) backends(rec *record) []backend {
	list := []backend{p.backend(rec.Backend)}
	if rec.Bridge != "" && rec.Walls != rec.Backend {
		list = append(list, p.backend(rec.Walls))
	}
	return list
}

// decode returns the configuration of a request that comes with prevResult.
func decode(r *cni.Request) (*Config, error) {
	conf := Default()
	if err := r.Decode(conf); err != nil {
		return nil, err
	}
	if tooOld(r.Config.Version) {
		return nil, errTooOld
	}
	if r.Prev == nil {
		return nil, cni.Errorf(cni.CodeInvalidConfig, "%s: needs prevResult", r.Config.Type).
			WithDetails("in the network's plugins, put it after the one that makes the interface")
	}
	return conf, nil
}

// newRecord finds what the attachment is to have.
func (p *firewall) newRecord(ctx context.Context, r *cni.Request, conf *Config) (*record, error) {
	b, err := p.choose(ctx, conf)
	if err != nil {
		return nil, err
	}
	rec := &record{Tag: r.Tag(), Backend: b, AdminChain: conf.AdminChain, Zone: conf.Zone}
	for _, ip := range r.Prev.IPs {
		if a := ip.Address.Addr(); !slices.Contains(rec.Addresses, a) {
			rec.Addresses = append(rec.Addresses, a)
		}
	}
	if err := p.addLinks(rec, r.Prev.Interfaces); err != nil {
		return nil, err
	}
	if conf.IngressPolicy == Open {
		return rec, nil
	}
	return rec, p.addWalls(rec, conf.IngressPolicy, r.Prev.Interfaces)
}

// addLinks notes the link by which the host forwards for the pod: the first of the
// host's, as prevResult lists a bridge before its port.
func (p *firewall) addLinks(rec *record, interfaces []cni.Interface) error {
	if rec.Backend != NFTables || len(rec.Addresses) == 0 {
		return nil
	}
	for _, i := range interfaces {
		if i.Sandbox != "" {
			continue
		}
		links, err := p.host.Links()
		if err != nil {
			return err
		}
		l, err := links.ByName(i.Name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		rec.Forwards, rec.Shared = l.Name, l.Kind == "bridge"
		return err
	}
	return nil
}

// addWalls notes the bridge that is to be kept apart from others.
func (p *firewall) addWalls(rec *record, policy Policy, interfaces []cni.Interface) error {
	if len(interfaces) == 0 || interfaces[0].Sandbox != "" || !plainWord(interfaces[0].Name) {
		return cni.Errorf(cni.CodeInvalidConfig, "firewall: ingressPolicy %s: the first interface of prevResult is no bridge of the host", policy).
			WithDetails("put it after bridge, or leave ingressPolicy out")
	}
	rec.Policy, rec.Bridge = policy, interfaces[0].Name
	if len(interfaces) > 1 && interfaces[1].Sandbox == "" {
		rec.Port = interfaces[1].Name
	}
	var err error
	rec.Walls, err = p.whereWallsAre(rec.Backend)
	return err
}

// whereWallsAre is the back end's own firewall; firewalld has none, and what the
// reference put beside it is in iptables.
func (p *firewall) whereWallsAre(b Backend) (Backend, error) {
	if b != Firewalld {
		return b, nil
	}
	table, err := p.host.Table()
	if err != nil {
		return "", err
	}
	there, err := table.InIPTables(stage1Chain)
	if there && err == nil {
		return IPTables, nil
	}
	return NFTables, err
}

// Check goes by the record, as the host's policy may have moved since; what the
// reference plugin made is to be where ADD would put it.
func (p *firewall) Check(ctx context.Context, r *cni.Request) error {
	conf, err := decode(r)
	if err != nil {
		return err
	}
	rec, err := p.books.read(r.Tag())
	if rec == nil && err == nil {
		rec, err = p.newRecord(ctx, r, conf)
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, b := range p.backends(rec) {
		errs = append(errs, b.check(ctx, rec))
	}
	return errors.Join(errs...)
}

// Del goes by the record. Without one the attachment is another plugin's of the same
// type, which wrote what prevResult says, or nobody's.
func (p *firewall) Del(ctx context.Context, r *cni.Request) error {
	rec, err := p.books.read(r.Tag())
	if rec == nil && (err == nil || errors.Is(err, state.ErrUnreadable)) {
		err = p.books.remove(r.Tag()) // what a killed ADD may have left, or a loss of power
	}
	if err != nil {
		return err
	}
	if rec != nil {
		return p.undo(ctx, rec)
	}
	if r.Prev == nil {
		return nil
	}
	conf := Default()
	_ = json.Unmarshal(r.Config.JSON, conf) // undone is also what is no longer valid
	conf.fill()
	if conf.Validate() != nil {
		conf = Default()
	}
	conf.IngressPolicy = Open // walls of others may have others behind them
	if rec, err = p.newRecord(ctx, r, conf); err != nil || rec.Backend == NFTables {
		return err
	}
	unlock, err := p.books.lock(ctx, rec)
	if err != nil {
		return err
	}
	defer unlock()
	return p.backend(rec.Backend).drop(ctx, rec)
}

func (p *firewall) undo(ctx context.Context, rec *record) error {
	rec, unlock, err := p.books.hold(ctx, rec)
	if rec == nil {
		return err
	}
	defer unlock()
	var errs []error
	for _, b := range p.backends(rec) {
		errs = append(errs, b.drop(ctx, rec))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("firewall of %s: %w", rec.Tag, err)
	}
	return p.books.remove(rec.Tag)
}

func (p *firewall) GC(ctx context.Context, r *cni.Request) error {
	if r.Valid == nil {
		return nil
	}
	tags := plugin.Tags(r.Valid)
	list, err := p.books.all()
	errs := []error{err}
	for _, rec := range list {
		if rec.Tag.In(r.Network) && !slices.Contains(tags, rec.Tag) {
			errs = append(errs, p.undo(ctx, rec))
		}
	}
	return errors.Join(append(errs, p.sweep(r.Network, tags))...)
}

// sweep removes what no record speaks of: elements by their tag, and what was admitted
// of links that are gone.
func (p *firewall) sweep(network string, tags []cni.Tag) error {
	table, err := p.host.Table()
	if err != nil {
		return err
	}
	_, err = table.Retain(pluginType, network, tags, nil)
	return errors.Join(err, p.host.RetainForwards())
}

func (p *firewall) Status(ctx context.Context, r *cni.Request) error {
	conf := Default()
	if err := r.Decode(conf); err != nil {
		return err
	}
	b, err := p.choose(ctx, conf)
	if err == nil {
		err = p.backend(b).available(ctx)
	}
	if err != nil {
		return cni.Errorf(cni.CodeNotAvailable, "%s: %w", r.Config.Type, err)
	}
	return nil
}

// Repair puts back what others removed from iptables and firewalld: what
// plugin.Host.Repair is for nftables, beside which it is to be called.
func Repair(ctx context.Context, h *plugin.Host) error {
	p := newPlugin(h)
	list, err := p.books.all()
	errs := []error{err}
	for _, rec := range list {
		errs = append(errs, p.repair(ctx, rec))
	}
	return errors.Join(errs...)
}

func (p *firewall) repair(ctx context.Context, rec *record) error {
	rec, unlock, err := p.books.hold(ctx, rec)
	if rec == nil {
		return err
	}
	defer unlock()
	var errs []error
	for _, b := range p.backends(rec) {
		if b.check(ctx, rec) != nil {
			errs = append(errs, b.drop(ctx, rec), b.put(ctx, rec))
		}
	}
	return errors.Join(errs...)
}
