package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/nft"
)

// A Device is how one kind of interface is made: the configuration of an interface
// plugin, decoded, with what only that kind knows. It embeds Config.
type Device interface {
	Common() *Config

	// Make makes the interface in the pod, down, sets Call.Link to it, and connects it.
	// It returns the result's interfaces, among them the pod's as Call.PodInterface
	// gives it. An Error with CodeExists says that nothing was made.
	Make(ctx context.Context, c *Call) ([]cni.Interface, error)

	// Connect makes the host's side fit the addresses that Call.Result has got, and
	// may complete them: gateways, routes, Call.DAD. It is called before the pod has them.
	Connect(ctx context.Context, c *Call) error

	// Finish returns what else the firewall must hold for the attachment, and brings
	// Call.Result.Interfaces up to date. The pod's interface is up.
	Finish(ctx context.Context, c *Call) ([]nft.Element, error)

	// Check compares what only this kind knows with Call.Result, the final result of
	// the chain, and returns the elements that Finish did.
	Check(ctx context.Context, c *Call) ([]nft.Element, error)
}

// A Lender is a Device whose interface was not made for the pod but lent to it, and so
// is given back rather than deleted. Return and Retain may not rely on the configuration:
// they are called on what newDevice returned.
type Lender interface {
	// UserSpace reports whether a program drives what is lent, so that the pod has no
	// link: then Make leaves Call.Link zero, and there is none to configure or check.
	UserSpace() bool

	// Return gives the attachment's interface back. Nothing there is fine.
	Return(ctx context.Context, h *Host, r *cni.Request) error

	// Retain gives back what is lent to attachments of the network that are not valid.
	Retain(ctx context.Context, h *Host, network string, valid []cni.Tag) error
}

// A Dependent is a Device or an Alteration that needs more of the host than a firewall and IPAM: a kind of
// link, an interface to stand on.
type Dependent interface {
	// Available says, as the answer to STATUS, what the host lacks.
	Available(h *link.Handle) error
}

// Interface returns the plugin that makes the devices that decode into what
// newDevice returns: a Device with its defaults.
func Interface(h *Host, newDevice func() Device) cni.Plugin { return &interfacePlugin{h, newDevice} }

type interfacePlugin struct {
	host      *Host
	newDevice func() Device
}

func (p *interfacePlugin) Add(ctx context.Context, r *cni.Request) (*cni.Result, error) {
	dev := p.newDevice()
	if err := r.Decode(dev); err != nil {
		return nil, err
	}
	ipam, err := dev.Common().IPAM.find(r)
	if err != nil {
		return nil, cni.Untouched(err)
	}
	c, err := p.host.open(r)
	if err != nil {
		return nil, err
	}
	defer c.close()
	if c.Result.Interfaces, err = dev.Make(ctx, c); err != nil {
		return nil, err
	}
	podIndex, err := c.podIndex()
	if err != nil {
		return nil, err
	}
	err = c.address(ctx, ipam, podIndex)
	if cni.CodeOf(err) == cni.CodeExists {
		// Who called will not undo this, so that the earlier attachment, whose lease it is,
		// stays whole: what was just made beside it goes here.
		return nil, errors.Join(err, p.remove(ctx, r))
	}
	if err != nil {
		return nil, cni.Touched(err)
	}
	if err := dev.Connect(ctx, c); err != nil {
		return nil, err
	}
	if err := c.configure(ctx, c.Link); err != nil {
		return nil, err
	}
	elements, err := dev.Finish(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := p.host.put(c, dev, elements); err != nil {
		return nil, err
	}
	c.waitUsable(ctx)
	if dns := dev.Common().DNS; !dns.IsZero() {
		c.Result.DNS = dns
	}
	if c.TakesOver {
		return c.Result, nil
	}
	return joined(r.Prev, c.Result), nil
}

// joined returns the result of a chain that had one before: both, this plugin's after
// the others' (specification 1.1.0, section 2, "ADD").
func joined(prev, result *cni.Result) *cni.Result {
	if prev == nil {
		return result
	}
	all := prev.Clone()
	before := len(all.Interfaces)
	all.Interfaces = append(all.Interfaces, result.Interfaces...)
	for _, ip := range result.IPs {
		if ip.Interface != nil {
			shifted := *ip.Interface + before
			ip.Interface = &shifted
		}
		all.IPs = append(all.IPs, ip)
	}
	all.Routes = append(all.Routes, result.Routes...)
	if !result.DNS.IsZero() {
		all.DNS = result.DNS
	}
	return all
}

// address asks IPAM, and lets every address be the pod interface's.
func (c *Call) address(ctx context.Context, ipam *delegate, podIndex int) error {
	if ipam == nil {
		return nil
	}
	given, err := ipam.add(ctx)
	if err != nil {
		return err
	}
	c.Result.IPs, c.Result.Routes, c.Result.DNS = given.IPs, given.Routes, given.DNS
	for i := range c.Result.IPs {
		c.Result.IPs[i].Interface = &podIndex
	}
	return nil
}

func (c *Call) podIndex() (int, error) {
	for i, l := range c.Result.Interfaces {
		if l.Sandbox != "" && l.Name == c.IfName {
			return i, nil
		}
	}
	return 0, fmt.Errorf("%s: made no interface %s in the pod", c.Config.Type, c.IfName)
}

func (h *Host) put(c *Call, dev Device, elements []nft.Element) error {
	elements = append(elements, masquerade(c, dev)...)
	if len(elements) == 0 {
		return nil
	}
	table, err := h.Table()
	if err != nil {
		return err
	}
	return table.Put(owner(c.Request), elements...)
}

// masquerade returns the elements that ipMasq asks for: everything but the pod's
// own subnets.
func masquerade(c *Call, dev Device) []nft.Element {
	if !dev.Common().IPMasq {
		return nil
	}
	var elements []nft.Element
	for _, ip := range c.Result.PodIPs(c.IfName) {
		elements = append(elements, nft.Masquerade{Source: ip.Address.Addr(), Except: Subnets(ip)})
	}
	return elements
}

func owner(r *cni.Request) nft.Owner { return nft.Owner{Tag: r.Tag(), Plugin: r.Config.Type} }

func (p *interfacePlugin) Del(ctx context.Context, r *cni.Request) error {
	// What made the attachment is to be undone even if the configuration has become
	// invalid meanwhile, so nothing but the IPAM's type is read.
	var conf struct{ IPAM IPAM }
	decodeErr := json.Unmarshal(r.Config.JSON, &conf)
	var errs []error
	if decodeErr != nil {
		errs = append(errs, cni.Errorf(cni.CodeDecoding, "%s: %w", r.Config.Type, decodeErr))
	}
	// IPAM first: a DHCP client can release its lease only over the interface.
	errs = append(errs, conf.IPAM.release(ctx, r, cni.Plugin.Del))
	table, err := p.host.Table()
	if err == nil {
		err = errors.Join(table.Drop(owner(r), nil), table.RevokeForward(HostName(r.Tag())))
	}
	return errors.Join(append(errs, err, p.remove(ctx, r))...)
}

// remove takes the attachment's interface out of the pod.
func (p *interfacePlugin) remove(ctx context.Context, r *cni.Request) error {
	if lender, ok := p.newDevice().(Lender); ok {
		return lender.Return(ctx, p.host, r)
	}
	return p.host.deleteLink(r)
}

func (p *interfacePlugin) GC(ctx context.Context, r *cni.Request) error {
	var conf struct{ IPAM IPAM }
	if err := r.Decode(&conf); err != nil {
		return err
	}
	err := conf.IPAM.release(ctx, r, cni.Plugin.GC)
	if r.Valid == nil {
		return err
	}
	tags := Tags(r.Valid)
	table, tableErr := p.host.Table()
	if tableErr == nil {
		_, tableErr = table.Retain(r.Config.Type, r.Network, tags, nil)
	}
	if lender, ok := p.newDevice().(Lender); ok {
		err = errors.Join(err, lender.Retain(ctx, p.host, r.Network, tags))
	}
	return errors.Join(err, tableErr, p.host.RetainLinks(r.Network, tags), p.host.RetainForwards())
}

func (p *interfacePlugin) Status(ctx context.Context, r *cni.Request) error {
	dev := p.newDevice()
	if err := r.Decode(dev); err != nil {
		return err
	}
	links, err := p.host.Links()
	if dependent, ok := dev.(Dependent); ok && err == nil {
		err = dependent.Available(links)
	}
	if err != nil {
		return cni.Errorf(cni.CodeNotAvailable, "%s: %w", r.Config.Type, err)
	}
	err = dev.Common().IPAM.call(ctx, r, cni.Plugin.Status)
	if errors.Is(err, fs.ErrNotExist) {
		return cni.Errorf(cni.CodeNotAvailable, "%w", err)
	}
	return err
}

// Tags returns the tags of the attachments.
func Tags(valid []cni.Attachment) []cni.Tag {
	tags := make([]cni.Tag, len(valid))
	for i, a := range valid {
		tags[i] = a.Tag()
	}
	return tags
}
