package bridge

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"time"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/nft"
	"github.com/seamnet/seam/plugin"
)

// runningTime bounds the wait for the port to carry frames.
const runningTime = 2500 * time.Millisecond

// bridgeTime bounds the wait for the bridge to do so.
const bridgeTime = 500 * time.Millisecond

// Make makes the bridge if need be, the veth, and its host end a port.
func (b *Config) Make(ctx context.Context, c *plugin.Call) ([]cni.Interface, error) {
	mac, err := b.MAC(c.Request, "")
	if err != nil {
		return nil, err
	}
	b.link, err = b.ensure(c.Links)
	if err != nil {
		return nil, err
	}
	if err := c.AddVeth(link.Veth{MTU: b.MTU, PeerMAC: mac}); err != nil {
		return nil, err
	}
	host := link.Link{Name: plugin.HostName(c.Tag())}
	if err := c.Links.Set(host, link.Change{Alias: plugin.Alias(c.Tag()), Master: b.link.Index, Up: true}); err != nil {
		return nil, err
	}
	if err := b.setPort(c.Links, host); err != nil {
		return nil, err
	}
	return []cni.Interface{plugin.HostInterface(b.link), plugin.HostInterface(host), c.PodInterface()}, nil
}

// ensure returns the bridge, made and set as configured.
func (b *Config) ensure(links *link.Handle) (link.Link, error) {
	br, err := links.ByName(b.Bridge)
	if errors.Is(err, fs.ErrNotExist) {
		br, err = b.create(links)
	}
	if err != nil {
		return br, err
	}
	if br.Kind != "bridge" {
		return br, cni.Errorf(cni.CodeInvalidConfig, "bridge: link %s is a %s, not a bridge", br.Name, br.Kind)
	}
	if b.filtered() {
		on, err := links.VLANFiltering(br.Name)
		if err == nil && !on {
			err = links.SetVLANFiltering(br)
		}
		if err != nil {
			return br, err
		}
	}
	if b.PromiscMode && !br.Promisc {
		if err := links.SetPromisc(br, true); err != nil {
			return br, err
		}
	}
	if !br.Up {
		return br, links.Set(br, link.Change{Up: true})
	}
	return br, nil
}

// madeAlias is the alias of bridges that Seam made, whose MAC address stays.
const madeAlias = "seam"

// create makes the bridge; another call may do so at the same time. It is made with a
// MAC address, which stays: otherwise it would be the lowest of its ports', and pods
// would lose their gateway whenever that port goes.
func (b *Config) create(links *link.Handle) (link.Link, error) {
	err := links.AddBridge(link.Bridge{Name: b.Bridge, MTU: b.MTU, MAC: randomMAC(), VLANFiltering: b.filtered()})
	if errors.Is(err, fs.ErrExist) {
		return links.ByName(b.Bridge)
	}
	if err != nil {
		return link.Link{}, err
	}
	br, err := links.ByName(b.Bridge)
	if err != nil {
		return br, err
	}
	if err := plugin.GatewaySettings(b.Bridge); err != nil {
		return br, err
	}
	br.Up, br.Alias = true, madeAlias
	return br, links.Set(br, link.Change{Alias: madeAlias, Up: true})
}

// randomMAC returns an address that is of one host, and says that nobody assigned it.
func randomMAC() net.HardwareAddr {
	mac := binary.BigEndian.AppendUint64(nil, rand.Uint64())[:6]
	mac[0] = mac[0]&^1 | 2
	return mac
}

func (b *Config) setPort(links *link.Handle, host link.Link) error {
	if !b.HairpinMode && !b.PortIsolation && !b.filtered() {
		return nil
	}
	port, err := links.ByName(host.Name)
	if err != nil {
		return err
	}
	if b.HairpinMode {
		if err := links.SetHairpin(port); err != nil {
			return err
		}
	}
	if b.PortIsolation {
		if err := links.SetIsolated(port); err != nil {
			return err
		}
	}
	if b.filtered() {
		return b.setVLANs(links, port)
	}
	return nil
}

// Connect makes the bridge the gateway of the addresses, where that is asked for.
func (b *Config) Connect(ctx context.Context, c *plugin.Call) error {
	c.DAD, c.LeaveDown, c.AnnounceLate = b.EnableDAD, b.LeaveDown, true
	if !b.IsGateway || len(c.Result.IPs) == 0 {
		return nil
	}
	b.completeGateways(c.Result)
	gateway, err := b.gatewayLink(c)
	if err != nil {
		return err
	}
	if err := b.giveGateways(c.Links, gateway, c.Result.IPs); err != nil {
		return err
	}
	return c.Forward(gateway.Name)
}

// Finish waits until the port carries frames, announces the pod, and reports the MAC addresses: the port's, and that of the bridge,
// which its first port changes on a bridge that someone else made.
func (b *Config) Finish(ctx context.Context, c *plugin.Call) (_ []nft.Element, err error) {
	host := link.Link{Name: plugin.HostName(c.Tag())}
	if b.LeaveDown {
		host, err = c.Links.ByName(host.Name)
	} else {
		ctx, cancel := context.WithTimeout(ctx, runningTime)
		defer cancel()
		if host, err = c.Links.WaitRunning(ctx, host.Name); err == nil {
			b.waitBridge(ctx, c.Links)
			err = c.Announce()
		}
	}
	if err != nil {
		return nil, err
	}
	if b.link.Alias != madeAlias {
		if b.link, err = c.Links.ByName(b.Bridge); err != nil {
			return nil, err
		}
	}
	c.Result.Interfaces[0].MAC, c.Result.Interfaces[1].MAC = b.link.MAC, host.MAC
	return b.guard(c, host.Name), nil
}

// waitBridge waits until the bridge carries frames, which its first port makes it do in a
// moment. With STP it takes half a minute, which is nobody's fault and not waited for.
func (b *Config) waitBridge(ctx context.Context, links *link.Handle) {
	if b.link.Running {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, bridgeTime)
	defer cancel()
	_, _ = links.WaitRunning(ctx, b.Bridge)
}

// guard returns the element that lets only the pod's own MAC address in.
func (b *Config) guard(c *plugin.Call, hostName string) []nft.Element {
	if !b.MACSpoofCheck {
		return nil
	}
	for _, i := range c.Result.Interfaces {
		if i.Sandbox != "" && i.Name == c.IfName {
			return []nft.Element{nft.Guard{Link: hostName, MAC: i.MAC}}
		}
	}
	return nil
}

// Check compares bridge, port and gateway with what Add made of them.
func (b *Config) Check(ctx context.Context, c *plugin.Call) ([]nft.Element, error) {
	br, err := c.CheckHostLink(b.Bridge)
	if err != nil {
		return nil, err
	}
	errs := []error{b.checkBridge(br)}
	host, err := b.checkPort(c, br)
	errs = append(errs, err, b.checkGateway(c))
	return b.guard(c, host.Name), errors.Join(errs...)
}

func (b *Config) checkBridge(br link.Link) error {
	if br.Kind != "bridge" {
		return fmt.Errorf("link %s: is a %s, not a bridge", br.Name, br.Kind)
	}
	if b.PromiscMode && !br.Promisc {
		return fmt.Errorf("bridge %s: is not promiscuous", br.Name)
	}
	return nil
}

// checkPort finds the host's end by the pod's, so that an attachment that a
// reference plugin made, under a name of its own, can be checked as well.
func (b *Config) checkPort(c *plugin.Call, br link.Link) (link.Link, error) {
	host, err := c.HostEnd()
	if err != nil {
		return host, err
	}
	var errs []error
	if host.Master != br.Index {
		errs = append(errs, fmt.Errorf("link %s: is not a port of bridge %s", host.Name, br.Name))
	}
	if !host.Up {
		errs = append(errs, fmt.Errorf("link %s: is down", host.Name))
	}
	hairpin, isolated, err := c.Links.Port(host)
	switch {
	case err != nil:
		errs = append(errs, err)
	case b.HairpinMode && !hairpin:
		errs = append(errs, fmt.Errorf("bridge port %s: hairpin mode is off", host.Name))
	case b.PortIsolation && !isolated:
		errs = append(errs, fmt.Errorf("bridge port %s: is not isolated", host.Name))
	}
	return host, errors.Join(append(errs, b.checkVLANs(c.Links, host))...)
}
