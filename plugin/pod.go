package plugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"time"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"golang.org/x/sys/unix"
)

// detectionTime bounds the wait for duplicate address detection: the kernel needs
// one to two seconds.
const detectionTime = 5 * time.Second

// usableTime bounds the wait for the kernel to make the pod's IPv6 addresses usable.
const usableTime = time.Second

// configure gives the pod's interface the result's addresses and routes and sets
// it up. The order is the kernel's: settings before the addresses they bear on,
// addresses before the announcement that going up sends, unless that would be lost,
// routes when the link is up.
func (c *Call) configure(ctx context.Context, pod link.Link) error {
	if pod.Index == 0 { // a program drives it (Lender.UserSpace)
		return nil
	}
	if _, v6 := c.Families(); v6 && pod.MTU < link.SmallestIPv6 {
		return cni.Errorf(cni.CodeInvalidConfig, "mtu %d: %s can have no IPv6 addresses, which need %d", pod.MTU, c.IfName, link.SmallestIPv6)
	}
	if err := c.PodNS.Do(func() error { return c.podSettings() }); err != nil {
		return err
	}
	steps := []func(link.Link) error{c.addAddrs, c.setUp}
	if c.AnnounceLate {
		slices.Reverse(steps)
	}
	for _, step := range steps {
		if err := step(pod); err != nil {
			return err
		}
	}
	if c.LeaveDown {
		return nil
	}
	if _, v6 := c.Families(); v6 && c.DAD {
		ctx, cancel := context.WithTimeout(ctx, detectionTime)
		defer cancel()
		if err := c.Pod.WaitAddrs(ctx, pod); err != nil {
			return err
		}
	}
	if c.ViaGateway {
		if err := c.routeViaGateway(pod); err != nil {
			return err
		}
	}
	return c.addRoutes(pod)
}

func (c *Call) addAddrs(pod link.Link) error {
	for _, ip := range c.Result.IPs {
		err := c.Pod.AddAddr(pod, link.Addr{Prefix: ip.Address, NoDAD: !c.DAD, NoPrefixRoute: c.ViaGateway})
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *Call) setUp(pod link.Link) error {
	if c.LeaveDown {
		return nil
	}
	up := link.Change{Up: true}
	if pod.Peer == 0 && pod.Alias == "" { // a veth bears its tag at the host's end
		up.Alias = Alias(c.Tag())
	}
	return c.Pod.Set(pod, up)
}

// routeViaGateway makes the gateway the pod's only neighbour: what the subnet's own
// route would have reached directly is reached through it. Another interface of the pod may
// have the same gateway, and routes of its own to it.
func (c *Call) routeViaGateway(pod link.Link) error {
	for _, ip := range c.Result.IPs {
		for _, r := range gatewayRoutes(ip) {
			if err := c.Pod.AppendRoute(pod, r); err != nil && !errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("pod %s: %w", c.NetNS, err)
			}
		}
	}
	return nil
}

// gatewayRoutes lead to the gateway, and over it to the rest of the subnet.
func gatewayRoutes(ip cni.IP) []link.Route {
	linkScope := unix.RT_SCOPE_LINK
	gateway := netip.PrefixFrom(ip.Gateway, ip.Gateway.BitLen())
	return []link.Route{
		{Route: cni.Route{Dst: gateway, Scope: &linkScope}, Source: ip.Address.Addr()},
		{Route: cni.Route{Dst: ip.Address.Masked(), GW: ip.Gateway}, Source: ip.Address.Addr()},
	}
}

// podSettings sets what must stand before the interface is up; it runs inside the
// pod. A kernel without IPv6 has none of the ipv6 settings.
func (c *Call) podSettings() error {
	conf := func(family, key, value string) error {
		return link.Sysctl(family + "/conf/" + c.IfName + "/" + key).Write(value)
	}
	errs := []error{conf("ipv4", "arp_notify", "1")}
	if _, v6 := c.Families(); v6 {
		errs = append(errs,
			link.Sysctl("ipv6/conf/lo/disable_ipv6").Set("0"),
			link.Sysctl("ipv6/conf/"+c.IfName+"/disable_ipv6").Set("0"),
			conf("ipv6", "keep_addr_on_down", "1"),
			conf("ipv6", "ndisc_notify", "1"))
	}
	dad := "0"
	if c.DAD {
		dad = "1"
	}
	if err := conf("ipv6", "accept_dad", dad); !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("pod %s: %w", c.NetNS, err)
	}
	return nil
}

// Announce lets the pod's interface, which is up, tell its neighbours its addresses. They
// may know those by the MAC address of a pod that had them before, and would send there
// for seconds.
//
// The kernel announces whenever a MAC address is set, be it the one that is there
// (net/ipv4/devinet.c and net/ipv6/ndisc.c, NETDEV_CHANGEADDR, with the settings that
// podSettings makes).
func (c *Call) Announce() error {
	if len(c.Result.IPs) == 0 {
		return nil
	}
	return c.Pod.Set(c.Link, link.Change{MAC: c.Link.MAC})
}

// waitUsable waits until the pod takes packets to its IPv6 addresses, which the kernel sees
// to a moment after it has said yes: what came before was lost, and not sent again for a
// second. It is called last, when there is hardly anything left to wait for. That it takes
// longer, as on a busy host, is no failure.
func (c *Call) waitUsable(ctx context.Context) {
	if _, v6 := c.Families(); !v6 || c.Link.Index == 0 || c.LeaveDown {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, usableTime)
	defer cancel()
	if c.Link.Peer != 0 { // with a cable, which other links may lack
		_, _ = c.Pod.WaitRunning(ctx, c.IfName)
	}
	for _, ip := range c.Result.IPs {
		if a := ip.Address.Addr(); a.Is6() {
			_ = c.Pod.WaitLocal(ctx, a)
		}
	}
}

// addRoutes adds the result's routes. A route without a gateway goes over the first
// gateway of its family; several to one destination stand beside one another.
func (c *Call) addRoutes(pod link.Link) error {
	for _, r := range c.Result.Routes {
		route := link.Route{Route: r}
		if !r.GW.IsValid() && r.Scope == nil {
			route.GW = c.Result.Gateway(r.Dst.Addr())
		}
		err := c.Pod.AppendRoute(pod, route)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("pod %s: %w", c.NetNS, err)
		}
	}
	return nil
}
