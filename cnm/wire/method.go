package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/seamnet/seam/cnm"
)

// What a driver may say that it implements.
const (
	kindNetwork = "NetworkDriver"
	kindIPAM    = "IpamDriver"
)

// A method answers the body of a request.
type method func(ctx context.Context, body []byte) (any, error)

// A requestError is the fault of who asks.
type requestError struct{ error }

func (e *requestError) Unwrap() error { return e.error }

// method returns nil if there is none of the name.
func (s *Server) method(name string) method {
	if name == "Plugin.Activate" {
		return func(context.Context, []byte) (any, error) { return activation{s.implements()}, nil }
	}
	if m := networkMethods(s.Driver)[name]; m != nil {
		return m
	}
	return ipamMethods(s.IPAM)[name]
}

// An activation is what Plugin.Activate answers.
type activation struct{ Implements []string }

func (s *Server) implements() []string {
	kinds := []string{}
	if s.Driver != nil {
		kinds = append(kinds, kindNetwork)
	}
	if s.IPAM != nil {
		kinds = append(kinds, kindIPAM)
	}
	return slices.Clip(kinds)
}

func networkMethods(d cnm.Driver) map[string]method {
	if d == nil {
		return nil
	}
	return map[string]method{
		"NetworkDriver.GetCapabilities": func(ctx context.Context, _ []byte) (any, error) {
			c, err := d.Capabilities(ctx)
			return encodeCapabilities(c), err
		},
		"NetworkDriver.CreateNetwork": verb((*networkForm).value, done(d.CreateNetwork)),
		"NetworkDriver.DeleteNetwork": verb((*networkRef).value, done(d.DeleteNetwork)),
		"NetworkDriver.CreateEndpoint": verb((*endpointForm).value, func(ctx context.Context, e *cnm.Endpoint) (any, error) {
			i, err := d.CreateEndpoint(ctx, e)
			if err != nil {
				return nil, err
			}
			return encodeChosen(i, &e.Interface)
		}),
		"NetworkDriver.DeleteEndpoint": verb((*endpointRef).value, done(onEndpoint(d.DeleteEndpoint))),
		"NetworkDriver.Join": verb((*joinForm).value, func(ctx context.Context, j *cnm.Join) (any, error) {
			joined, err := d.Join(ctx, j)
			if err != nil {
				return nil, err
			}
			return encodeJoined(joined)
		}),
		"NetworkDriver.Leave": verb((*endpointRef).value, done(onEndpoint(d.Leave))),
		"NetworkDriver.EndpointOperInfo": verb((*endpointRef).value, func(ctx context.Context, r endpointRef) (any, error) {
			info, err := d.EndpointInfo(ctx, r.NetworkID, r.EndpointID)
			if info == nil {
				info = map[string]any{}
			}
			return infoForm{info}, err
		}),
		"NetworkDriver.ProgramExternalConnectivity": verb((*joinForm).value, done(program(d))),
		"NetworkDriver.RevokeExternalConnectivity":  verb((*endpointRef).value, done(revoke(d))),
		"NetworkDriver.DiscoverNew":                 ignore,
		"NetworkDriver.DiscoverDelete":              ignore,
	}
}

func ipamMethods(i cnm.IPAM) map[string]method {
	if i == nil {
		return nil
	}
	return map[string]method{
		"IpamDriver.GetCapabilities": func(ctx context.Context, _ []byte) (any, error) {
			c, err := i.IPAMCapabilities(ctx)
			return requirements{c.RequiresMAC, c.RequiresReplay}, err
		},
		"IpamDriver.GetDefaultAddressSpaces": func(ctx context.Context, _ []byte) (any, error) {
			c, err := i.IPAMCapabilities(ctx)
			return spaces{c.LocalSpace, c.GlobalSpace}, err
		},
		"IpamDriver.RequestPool": verb((*poolRequestForm).value, func(ctx context.Context, r *cnm.PoolRequest) (any, error) {
			p, err := i.RequestPool(ctx, r)
			if err != nil {
				return nil, err
			}
			return encodePool(p)
		}),
		"IpamDriver.ReleasePool": verb((*poolRef).value, done(i.ReleasePool)),
		"IpamDriver.RequestAddress": verb((*addressRequestForm).value, func(ctx context.Context, r *cnm.AddressRequest) (any, error) {
			a, err := i.RequestAddress(ctx, r)
			if err != nil {
				return nil, err
			}
			return encodeAddress(a)
		}),
		"IpamDriver.ReleaseAddress": verb((*addressRef).value, func(ctx context.Context, r addressRef) (any, error) {
			return nothing{}, i.ReleaseAddress(ctx, r.PoolID, r.addr)
		}),
	}
}

// verb is a method whose body is the JSON form F of V. A body that cannot be read, or
// is missing, as when an engine calls again after its connection broke, is refused.
func verb[F, V any](value func(*F) (V, error), do func(context.Context, V) (any, error)) method {
	return func(ctx context.Context, body []byte) (any, error) {
		v, err := decode(body, value)
		if err != nil {
			return nil, &requestError{fmt.Errorf("request: %w", err)}
		}
		return do(ctx, v)
	}
}

func decode[F, V any](body []byte, value func(*F) (V, error)) (v V, err error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return v, errors.New("has no body")
	}
	form := new(F)
	if err := json.Unmarshal(body, form); err != nil {
		return v, err
	}
	return value(form)
}

// nothing is the answer to what only may go wrong.
type nothing struct{}

func done[V any](do func(context.Context, V) error) func(context.Context, V) (any, error) {
	return func(ctx context.Context, v V) (any, error) { return nothing{}, do(ctx, v) }
}

func onEndpoint(do func(context.Context, cnm.NetworkID, cnm.EndpointID) error) func(context.Context, endpointRef) error {
	return func(ctx context.Context, r endpointRef) error { return do(ctx, r.NetworkID, r.EndpointID) }
}

// ignore is of notifications about a cluster's nodes.
func ignore(context.Context, []byte) (any, error) { return nothing{}, nil }

func program(d cnm.Driver) func(context.Context, *cnm.Join) error {
	if c, ok := d.(cnm.Connectivity); ok {
		return c.Program
	}
	return func(context.Context, *cnm.Join) error { return nil }
}

func revoke(d cnm.Driver) func(context.Context, endpointRef) error {
	if c, ok := d.(cnm.Connectivity); ok {
		return onEndpoint(c.Revoke)
	}
	return func(context.Context, endpointRef) error { return nil }
}
