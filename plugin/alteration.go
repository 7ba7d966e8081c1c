package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
)

// An Alteration is the configuration of a chained plugin that changes an interface
// which is there, or what serves it: its settings, queueing, routing.
type Alteration interface {
	// Apply makes the changes. Call.Link is the pod's interface, Call.Result a copy of
	// prevResult, which it brings up to date.
	Apply(ctx context.Context, c *Call) error

	// Check reports, joined, whatever of the changes is there no more. Call.Result is
	// the final result of the chain.
	Check(ctx context.Context, c *Call) error

	// Revert undoes what there is of Apply. It must make do with less: a configuration
	// that has become invalid (the keys that could be decoded are), no prevResult
	// (Call.Prev), a namespace that is gone (Call.Pod and Call.PodNS are nil), an
	// interface that is gone or is another attachment's (Call.Link is zero).
	Revert(ctx context.Context, c *Call) error

	// Retain removes from the host what Apply made for attachments of the request's
	// network that are not valid, by as much of the configuration as Revert has.
	Retain(ctx context.Context, h *Host, r *cni.Request, valid []cni.Tag) error
}

// Altering returns the plugin whose configurations decode into what newAlteration
// returns: an Alteration with its defaults.
func Altering(h *Host, newAlteration func() Alteration) cni.Plugin {
	return &altering{h, newAlteration}
}

type altering struct {
	host          *Host
	newAlteration func() Alteration
}

// Since is the oldest version of the specification that the plugin serves: any, unless
// the Alteration names one.
func (p *altering) Since() string {
	if n, ok := p.newAlteration().(interface{ Since() string }); ok {
		return n.Since()
	}
	return "0.1.0"
}

// State returns the plugin's folder for what must outlive a call and dies with the
// kernel's state. It may have to be made.
func (h *Host) State(plugin string) string { return filepath.Join(h.Dirs.State, plugin) }

func (p *altering) Add(ctx context.Context, r *cni.Request) (*cni.Result, error) {
	alteration, c, err := p.open(r)
	if err != nil {
		return nil, err
	}
	defer c.close()
	c.Result = r.Prev.Clone()
	if err := alteration.Apply(ctx, c); err != nil {
		return nil, err
	}
	return c.Result, nil
}

func (p *altering) Check(ctx context.Context, r *cni.Request) error {
	alteration, c, err := p.open(r)
	if err != nil {
		return err
	}
	defer c.close()
	c.Result = r.Prev
	return alteration.Check(ctx, c)
}

// open decodes the configuration and opens the pod, whose interface must be there.
func (p *altering) open(r *cni.Request) (Alteration, *Call, error) {
	alteration := p.newAlteration()
	if err := r.Decode(alteration); err != nil {
		return nil, nil, err
	}
	if r.Prev == nil {
		return nil, nil, errNoPrev(r)
	}
	c, err := p.host.open(r)
	if err != nil {
		return nil, nil, err
	}
	if c.Link, err = c.Pod.ByName(r.IfName); err != nil {
		c.close()
		return nil, nil, fmt.Errorf("pod %s: %w", r.NetNS, err)
	}
	return alteration, c, nil
}

// errNoPrev is what a chained plugin answers when it is called alone.
func errNoPrev(r *cni.Request) error {
	return cni.Errorf(cni.CodeInvalidConfig, "%s: needs prevResult", r.Config.Type).
		WithDetails("in the network's plugins, put it after the one that makes the interface")
}

func (p *altering) Del(ctx context.Context, r *cni.Request) error {
	alteration, decodeErr := p.decodeSome(r)
	c, err := p.host.openWhatIsLeft(r)
	if err != nil {
		return errors.Join(decodeErr, err)
	}
	defer c.close()
	return errors.Join(decodeErr, alteration.Revert(ctx, c))
}

// decodeSome decodes what can be decoded, key by key: what there is is undone, whatever has
// become of the configuration. The error says that it is no JSON object.
func (p *altering) decodeSome(r *cni.Request) (Alteration, error) {
	alteration := p.newAlteration()
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(r.Config.JSON, &keys); err != nil {
		return alteration, cni.Errorf(cni.CodeDecoding, "%s: %w", r.Config.Type, err)
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if one, err := json.Marshal(map[string]json.RawMessage{key: keys[key]}); err == nil {
			_ = json.Unmarshal(one, alteration) // what has become invalid stays as it is without the key
		}
	}
	return alteration, nil
}

// openWhatIsLeft opens both sides for undoing: without the pod's if that is gone.
func (h *Host) openWhatIsLeft(r *cni.Request) (*Call, error) {
	c, err := h.open(r)
	if gone(err) {
		links, err := h.Links()
		return &Call{Request: r, host: h, Links: links}, err
	}
	if err != nil {
		return nil, err
	}
	c.Link, err = c.Pod.ByName(r.IfName)
	if err == nil {
		var anothers bool
		if anothers, err = c.anothers(); anothers {
			c.Link = link.Link{}
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.close()
		return nil, err
	}
	return c, nil
}

func (p *altering) GC(ctx context.Context, r *cni.Request) error {
	if r.Valid == nil {
		return nil
	}
	alteration, err := p.decodeSome(r)
	return errors.Join(err, alteration.Retain(ctx, p.host, r, Tags(r.Valid)))
}

func (p *altering) Status(ctx context.Context, r *cni.Request) error {
	alteration := p.newAlteration()
	if err := r.Decode(alteration); err != nil {
		return err
	}
	links, err := p.host.Links()
	if dependent, ok := alteration.(Dependent); ok && err == nil {
		err = dependent.Available(links)
	}
	if err != nil {
		return cni.Errorf(cni.CodeNotAvailable, "%s: %w", r.Config.Type, err)
	}
	return nil
}
