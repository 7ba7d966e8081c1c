// Package ptp makes a veth between pod and host, without a bridge: the plugin
// "ptp". The host routes each address to its veth; the pod's only neighbour is its
// gateway, an address of the host's end.
//
// To see what it made: ip route get ADDRESS on the host, ip route in the pod.
package ptp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"time"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/nft"
	"github.com/seamnet/seam/plugin"
	"golang.org/x/sys/unix"
)

// Config is the plugin's configuration: the keys that all interface plugins share.
type Config struct {
	plugin.Config
	host link.Link // the host's end, as Make made it
}

// New returns the plugin on that host.
func New(h *plugin.Host) cni.Plugin {
	return plugin.Interface(h, func() plugin.Device { return &Config{} })
}

// Validate reports what is wrong with the configuration.
func (p *Config) Validate() error {
	err := p.ValidateCommon()
	if p.IPAM.Type == "" {
		err = errors.Join(err, errors.New("ipam: is missing, and without addresses there is nothing to route"))
	}
	return err
}

// Make makes the veth.
func (p *Config) Make(ctx context.Context, c *plugin.Call) ([]cni.Interface, error) {
	if err := c.AddVeth(link.Veth{MTU: p.MTU}); err != nil {
		return nil, err
	}
	var err error
	if p.host, err = c.Links.ByName(plugin.HostName(c.Tag())); err != nil {
		return nil, err
	}
	if err := c.Links.Set(p.host, link.Change{Alias: plugin.Alias(c.Tag()), Up: true}); err != nil {
		return nil, err
	}
	return []cni.Interface{plugin.HostInterface(p.host), c.PodInterface()}, nil
}

// Connect gives the host's end the gateways, and routes the addresses over it.
func (p *Config) Connect(ctx context.Context, c *plugin.Call) error {
	c.ViaGateway = true
	if _, v6 := c.Families(); v6 {
		if err := plugin.GatewaySettings(p.host.Name); err != nil {
			return err
		}
	}
	for i := range c.Result.IPs {
		ip := &c.Result.IPs[i]
		if !ip.Gateway.IsValid() {
			ip.Gateway = ip.Address.Masked().Addr().Next()
		}
		gateway := link.Addr{Prefix: netip.PrefixFrom(ip.Gateway, ip.Gateway.BitLen()), NoDAD: true}
		if err := c.Links.AddAddr(p.host, gateway); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := c.Links.SetRoute(p.host, routeTo(*ip)); err != nil {
			return err
		}
	}
	return c.Forward(p.host.Name)
}

// routeTo is the host's route to the pod's address.
func routeTo(ip cni.IP) link.Route {
	scope := unix.RT_SCOPE_HOST
	if ip.Address.Addr().Is6() {
		scope = unix.RT_SCOPE_UNIVERSE // IPv6 has no other
	}
	a := ip.Address.Addr()
	return link.Route{Route: cni.Route{Dst: netip.PrefixFrom(a, a.BitLen()), Scope: &scope}}
}

// runningTime bounds the wait for the host's end to carry packets.
const runningTime = 2500 * time.Millisecond

// Finish waits until the host's end carries packets, which the kernel drops until then.
func (p *Config) Finish(ctx context.Context, c *plugin.Call) ([]nft.Element, error) {
	ctx, cancel := context.WithTimeout(ctx, runningTime)
	defer cancel()
	_, err := c.Links.WaitRunning(ctx, p.host.Name)
	return nil, err
}

// Check compares the host's end and its routes with what Add made, and lets the frame
// look for the routes to the gateway as well.
func (p *Config) Check(ctx context.Context, c *plugin.Call) ([]nft.Element, error) {
	c.ViaGateway = true
	host, err := c.HostEnd()
	if err != nil {
		return nil, err
	}
	if _, err := c.CheckHostLink(host.Name); err != nil {
		return nil, err
	}
	routes, err := c.Links.Routes(host)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, ip := range c.Result.PodIPs(c.IfName) {
		if !hasRoute(routes, routeTo(ip).Dst) {
			errs = append(errs, fmt.Errorf("route to %s over %s is gone", ip.Address.Addr(), host.Name))
		}
	}
	return nil, errors.Join(append(errs, c.CheckForward(host.Name))...)
}

func hasRoute(routes []link.Route, dst netip.Prefix) bool {
	for _, r := range routes {
		if r.Dst == dst {
			return true
		}
	}
	return false
}
