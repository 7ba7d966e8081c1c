// Package loopback sets the pod's loopback interface up: the plugin "loopback".
//
// It makes nothing, so there is nothing to collect. To see its effect: ip addr show
// lo, inside the pod.
package loopback

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns"
)

// name is the interface's, whatever CNI_IFNAME says.
const name = "lo"

// Config is the plugin's configuration: it has no keys.
type Config struct{}

type loopback struct{}

// New returns the plugin.
func New() cni.Plugin { return loopback{} }

func (loopback) Add(ctx context.Context, r *cni.Request) (*cni.Result, error) {
	var result *cni.Result
	err := inside(r, func(pod *link.Handle, lo link.Link) error {
		if err := pod.Set(lo, link.Change{Up: true}); err != nil {
			return err
		}
		if r.Prev != nil {
			result = r.Prev.Clone()
			return nil
		}
		var err error
		result, err = report(r, pod, lo)
		return err
	})
	return result, err
}

func report(r *cni.Request, pod *link.Handle, lo link.Link) (*cni.Result, error) {
	addrs, err := pod.Addrs(lo)
	if err != nil {
		return nil, err
	}
	index := 0
	noMAC := make(net.HardwareAddr, 6) // as the kernel has it
	result := &cni.Result{Interfaces: []cni.Interface{{Name: name, MAC: noMAC, Sandbox: r.NetNS}}}
	for _, a := range addrs {
		result.IPs = append(result.IPs, cni.IP{Address: a.Prefix, Interface: &index})
	}
	return result, nil
}

func (loopback) Check(ctx context.Context, r *cni.Request) error {
	return inside(r, func(_ *link.Handle, lo link.Link) error {
		if !lo.Up {
			return fmt.Errorf("pod %s: interface %s is down", r.NetNS, name)
		}
		return nil
	})
}

// Del sets the interface down; with the namespace gone there is nothing to do.
func (loopback) Del(ctx context.Context, r *cni.Request) error {
	if r.NetNS == "" {
		return nil
	}
	err := inside(r, func(pod *link.Handle, lo link.Link) error { return pod.Set(lo, link.Change{Down: true}) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (loopback) GC(context.Context, *cni.Request) error     { return nil }
func (loopback) Status(context.Context, *cni.Request) error { return nil }

func inside(r *cni.Request, do func(pod *link.Handle, lo link.Link) error) error {
	ns, err := netns.Open(r.NetNS)
	if err != nil {
		return cni.Errorf(cni.CodeInvalidNetNS, "loopback: %w", err)
	}
	defer ns.Close()
	pod, err := link.In(ns)
	if err != nil {
		return err
	}
	defer pod.Close()
	lo, err := pod.ByName(name)
	if err != nil {
		return fmt.Errorf("pod %s: %w", r.NetNS, err)
	}
	return do(pod, lo)
}
