package plugin

import (
	"context"
	"errors"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/nft"
)

// A Filter is the configuration of a chained plugin that makes no interface, only
// elements of the host's firewall.
type Filter interface {
	// Elements returns what the firewall must hold for the attachment. It depends on
	// nothing but the request, whose Prev is set.
	Elements(r *cni.Request) ([]nft.Element, error)

	// Settle makes what else the elements need on the host, after they are there.
	Settle(h *Host, r *cni.Request, elements []nft.Element) error

	// Settled reports whether what Settle made is there still.
	Settled(h *Host, r *cni.Request, elements []nft.Element) error
}

// An Heir is a Filter that knows what the reference plugin of its name keeps in the
// firewall, and so can take over attachments that were made by that.
type Heir interface {
	Legacy(a cni.Attachment) nft.Legacy
}

// Chained returns the plugin whose configurations decode into what newFilter
// returns: a Filter with its defaults. Afterwards is called with elements that are
// gone, by Del and GC, at least once for each, and may be nil.
//
// Del goes by the record of what Add put, and so needs neither the namespace nor
// prevResult nor runtimeConfig, nor a valid configuration.
func Chained(h *Host, newFilter func() Filter, afterwards func([]nft.Element) error) cni.Plugin {
	return &chained{h, newFilter, afterwards}
}

type chained struct {
	host       *Host
	newFilter  func() Filter
	afterwards func([]nft.Element) error
}

func (p *chained) Add(ctx context.Context, r *cni.Request) (*cni.Result, error) {
	filter, elements, err := p.elements(r)
	if err != nil {
		return nil, err
	}
	if len(elements) == 0 {
		return r.Prev.Clone(), nil
	}
	table, err := p.host.Table()
	if err != nil {
		return nil, err
	}
	if err := table.Put(owner(r), elements...); err != nil {
		return nil, err
	}
	if err := filter.Settle(p.host, r, elements); err != nil {
		return nil, err
	}
	return r.Prev.Clone(), nil
}

func (p *chained) Check(ctx context.Context, r *cni.Request) error {
	filter, elements, err := p.elements(r)
	if err != nil || len(elements) == 0 {
		return err
	}
	table, err := p.host.Table()
	if err != nil {
		return err
	}
	if err := table.Check(owner(r), elements...); err != nil {
		if heir, ok := filter.(Heir); ok && inherited(table, owner(r), heir.Legacy(r.Attachment)) {
			return nil // as it was made: what Settle makes was not asked for
		}
		return errors.Join(err, filter.Settled(p.host, r, elements))
	}
	return filter.Settled(p.host, r, elements)
}

// elements decodes the configuration and asks it.
func (p *chained) elements(r *cni.Request) (Filter, []nft.Element, error) {
	filter := p.newFilter()
	if err := r.Decode(filter); err != nil {
		return nil, nil, err
	}
	if r.Prev == nil {
		return nil, nil, errNoPrev(r)
	}
	elements, err := filter.Elements(r)
	return filter, elements, err
}

func (p *chained) Del(ctx context.Context, r *cni.Request) error {
	table, err := p.host.Table()
	if err != nil {
		return err
	}
	err = table.Drop(owner(r), p.afterwards)
	if heir, ok := p.newFilter().(Heir); ok {
		return errors.Join(err, p.disinherit(r, table, heir.Legacy(r.Attachment)))
	}
	return err
}

// disinherit removes what the reference plugin made; what it was is told by the
// request, as far as that can be read.
func (p *chained) disinherit(r *cni.Request, table *nft.Table, legacy nft.Legacy) error {
	was, err := table.DropInherited(legacy)
	if err != nil || !was || p.afterwards == nil {
		return err
	}
	if _, elements, err := p.elements(r); err == nil {
		return p.afterwards(elements)
	}
	return nil
}

func (p *chained) GC(ctx context.Context, r *cni.Request) error {
	if r.Valid == nil {
		return nil
	}
	table, err := p.host.Table()
	if err != nil {
		return err
	}
	_, err = table.Retain(r.Config.Type, r.Network, Tags(r.Valid), p.afterwards)
	return err
}

func (p *chained) Status(ctx context.Context, r *cni.Request) error {
	if err := r.Decode(p.newFilter()); err != nil {
		return err
	}
	table, err := p.host.Table()
	if err == nil {
		err = table.Available()
	}
	if err != nil {
		return cni.Errorf(cni.CodeNotAvailable, "%s: %w", r.Config.Type, err)
	}
	return nil
}
