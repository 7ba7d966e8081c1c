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
	return errors.Join(table.Check(owner(r), elements...), filter.Settled(p.host, r, elements))
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
	return table.Drop(owner(r), p.afterwards)
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
