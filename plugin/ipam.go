package plugin

import (
	"context"
	"errors"
	"fmt"

	"github.com/seamnet/seam/cni"
)

// delegate finds the IPAM plugin and the request to hand it: the same, with the
// whole configuration (specification 1.1.0, section 4).
func (i IPAM) delegate(r *cni.Request) (cni.Plugin, *cni.Request, error) {
	p, err := r.Plugins.Find(i.Type)
	if err != nil {
		return nil, nil, cni.Errorf(cni.CodeInvalidConfig, "network %q: ipam: %w", r.Network, err)
	}
	request := *r
	request.Config.Type = i.Type
	return p, &request, nil
}

// add asks for addresses; an answer without any is an error, and given back.
func (i IPAM) add(ctx context.Context, r *cni.Request) (*cni.Result, error) {
	p, request, err := i.delegate(r)
	if err != nil {
		return nil, err
	}
	result, err := cni.Add(ctx, p, request)
	if err != nil {
		return nil, fmt.Errorf("ipam %s: %w", i.Type, err)
	}
	if len(result.IPs) == 0 {
		return nil, cni.Errorf(cni.CodeInvalidConfig, "ipam %s: gave no address", i.Type).
			WithDetails("without a key \"ipam\" the interface is left without addresses")
	}
	return result, nil
}

// call forwards one of the verbs that return no result; without IPAM it does nothing.
func (i IPAM) call(ctx context.Context, r *cni.Request, verb func(cni.Plugin, context.Context, *cni.Request) error) error {
	if i.Type == "" {
		return nil
	}
	p, request, err := i.delegate(r)
	if err != nil {
		return err
	}
	if err := verb(p, ctx, request); err != nil {
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
