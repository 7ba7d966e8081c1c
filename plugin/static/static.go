package static

import (
	"context"
	"fmt"
	"slices"

	"github.com/seamnet/seam/cni"
)

// New returns the plugin.
func New() cni.Plugin { return static{} }

type static struct{}

func (static) Add(_ context.Context, r *cni.Request) (*cni.Result, error) {
	conf, ips, err := load(r)
	if err != nil {
		return nil, err
	}
	return &cni.Result{IPs: ips, Routes: conf.IPAM.Routes, DNS: conf.IPAM.DNS}, nil
}

// Check holds each address that Add gives against the chain's result. A gateway
// that Add leaves open may have been filled in by the interface plugin.
func (static) Check(_ context.Context, r *cni.Request) error {
	if r.Prev == nil {
		return explain(r, cni.Errorf(cni.CodeInvalidConfig, "CHECK needs a prevResult"))
	}
	_, ips, err := load(r)
	if err != nil {
		return err
	}
	for _, want := range ips {
		i := slices.IndexFunc(r.Prev.IPs, func(ip cni.IP) bool { return ip.Address == want.Address })
		if i < 0 {
			return explain(r, fmt.Errorf("address %s is not in the result", want.Address))
		}
		switch got := r.Prev.IPs[i].Gateway; {
		case !want.Gateway.IsValid() || got == want.Gateway:
		case !got.IsValid():
			return explain(r, fmt.Errorf("address %s has no gateway in the result, not %s", want.Address, want.Gateway))
		default:
			return explain(r, fmt.Errorf("address %s has gateway %s in the result, not %s", want.Address, got, want.Gateway))
		}
	}
	return nil
}

// Del has nothing to remove.
func (static) Del(context.Context, *cni.Request) error { return nil }

// GC has nothing to remove.
func (static) GC(context.Context, *cni.Request) error { return nil }

func (static) Status(_ context.Context, r *cni.Request) error {
	if _, _, err := load(r); err != nil {
		return cni.Errorf(cni.CodeNotAvailable, "%w", err)
	}
	return nil
}
