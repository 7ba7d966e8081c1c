package plugin

import (
	"context"
	"errors"
	"fmt"

	"github.com/seamnet/seam/cni"
)

// A delegate is the IPAM plugin of one call, and the request to hand it: the same, with
// the whole configuration (specification 1.1.0, section 4).
type delegate struct {
	plugin  cni.Plugin
	request *cni.Request
}

// find returns nil without IPAM.
func (i IPAM) find(r *cni.Request) (*delegate, error) {
	if i.Type == "" {
		return nil, nil
	}
	if i.asked(r) {
		return nil, cni.Errorf(cni.CodeInvalidConfig, "network %q: ipam: type %q makes interfaces, and gives no addresses", r.Network, i.Type).
			WithDetails("name one that does: host-local, static or dhcp, for instance")
	}
	p, err := r.Plugins.Find(i.Type)
	if err != nil {
		return nil, cni.Errorf(cni.CodeInvalidConfig, "network %q: ipam: %w", r.Network, err)
	}
	request := *r
	request.Config.Type = i.Type
	return &delegate{p, &request}, nil
}

// asked reports whether the request came to a plugin that makes interfaces because it is
// the one that "ipam" names. It would ask that one, itself, and so on without end.
func (i IPAM) asked(r *cni.Request) bool { return i.Type != "" && i.Type == r.Config.Type }

// add asks for addresses; an answer without any is an error, and given back.
func (d *delegate) add(ctx context.Context) (*cni.Result, error) {
	result, err := cni.Add(ctx, d.plugin, d.request)
	if err != nil {
		return nil, fmt.Errorf("ipam %s: %w", d.request.Config.Type, err)
	}
	if len(result.IPs) == 0 {
		return nil, cni.Errorf(cni.CodeInvalidConfig, "ipam %s: gave no address", d.request.Config.Type).
			WithDetails("without a key \"ipam\" the interface is left without addresses")
	}
	return result, nil
}

// release forwards a verb that frees something. A plugin that makes interfaces holds no
// address, whatever it was taken for.
func (i IPAM) release(ctx context.Context, r *cni.Request, verb func(cni.Plugin, context.Context, *cni.Request) error) error {
	if i.asked(r) {
		return nil
	}
	return i.call(ctx, r, verb)
}

// call forwards one of the verbs that return no result; without IPAM it does nothing.
func (i IPAM) call(ctx context.Context, r *cni.Request, verb func(cni.Plugin, context.Context, *cni.Request) error) error {
	d, err := i.find(r)
	if err != nil || d == nil {
		return err
	}
	if err := verb(d.plugin, ctx, d.request); err != nil {
		return fmt.Errorf("ipam %s: %w", i.Type, err)
	}
	return nil
}

// exists turns the error of making something that is there already into a refusal
// that touched nothing.
func exists(err error, format string, args ...any) error {
	return cni.Errorf(cni.CodeExists, format+": %w", append(args, err)...)
}

var errNoNetNS = errors.New("no namespace was given")
