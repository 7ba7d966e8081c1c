// Package bandwidth limits how much a pod sends and receives: the plugin "bandwidth",
// chained after one that gives the pod one end of a veth.
//
// What the pod receives waits in a token bucket on the host's end of the veth. What it
// sends has no queue there, so it is redirected to a link of kind ifb that has one. It is
// not a policer, which would drop what is too much, and it guarantees nothing. To see its
// work: tc -s qdisc, tc -s filter show dev VETH ingress, ip -d link show type ifb.
package bandwidth

import (
	"context"
	"crypto/sha512"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/plugin"
)

// New returns the plugin on that host.
func New(h *plugin.Host) cni.Plugin {
	return plugin.Altering(h, func() plugin.Alteration { return &Config{begun: newIntents(h)} })
}

// prefix begins the names of the plugin's links, as the reference's.
const prefix = "bwp"

// linkName returns the name of the attachment's ifb.
func linkName(tag cni.Tag) string { return prefix + tag.Hash(12) }

// referenceName returns the name that the reference plugin gives it, which does not
// depend on the pod's interface.
func referenceName(a cni.Attachment) string {
	sum := sha512.Sum512([]byte(a.Network + a.ContainerID))
	return fmt.Sprintf("%s%x", prefix, sum[:6])
}

// Apply limits both directions. It is refused, and leaves everything as it was, where
// the attachment has limits already.
func (c *Config) Apply(_ context.Context, call *plugin.Call) error {
	limits := c.limits()
	if limits == (Limits{}) {
		return nil
	}
	host, err := hostEnd(call)
	if err != nil {
		return err
	}
	if limits.IngressRate > 0 {
		if err := c.limitIngress(call.Links, host, bucket(limits.IngressRate, limits.IngressBurst)); err != nil {
			return err
		}
	}
	if limits.EgressRate == 0 {
		return nil
	}
	err = c.limitEgress(call, host, bucket(limits.EgressRate, limits.EgressBurst))
	if cni.CodeOf(err) == cni.CodeExists && limits.IngressRate > 0 {
		// Who called will not undo this, so that the earlier attachment stays whole.
		return errors.Join(err, call.Links.DeleteShaping(host))
	}
	return err
}

// Available says, as the answer to STATUS, that the kernel lacks what the configuration's own
// limits need. Those of a pod, which the runtime gives, are not known then.
func (c *Config) Available(h *link.Handle) error {
	if c.limits().EgressRate == 0 {
		return nil
	}
	return plugin.Supported(h, "ifb")
}

// hostEnd returns the host's end of the pod's veth, which the chain must have made.
func hostEnd(call *plugin.Call) (link.Link, error) {
	host, err := call.HostEnd()
	if err != nil {
		return host, err
	}
	for _, i := range call.Result.Interfaces {
		if i.Sandbox == "" && i.Name == host.Name {
			return host, nil
		}
	}
	return host, cni.Errorf(cni.CodeInvalidConfig, "%s: prevResult does not name %s, the host's end of %s", call.Config.Type, host.Name, call.IfName)
}

func (c *Config) limitIngress(links *link.Handle, host link.Link, t link.TBF) error {
	err := error(nil)
	if filters, byDefault := c.ingressFilters(); filters == nil {
		err = links.AddTBF(host, t)
	} else {
		err = links.AddHTB(host, t, byDefault, filters)
	}
	return exists(err, host)
}

// exists makes the first message's refusal one that is not undone.
func exists(err error, l link.Link) error {
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	return cni.Errorf(cni.CodeExists, "%w", err).WithDetails("see tc qdisc show dev %s; if it is this attachment's own, DEL it first", l.Name)
}

// ingressFilters returns which of what the pod receives is shaped, and whether what
// none of them matches is. No filters: all is.
func (c *Config) ingressFilters() (filters []link.Filter, byDefault bool) {
	unshaped, shaped := c.subnets()
	for _, s := range slices.Concat(unshaped, shaped) {
		filters = append(filters, link.Filter{Subnet: s, Source: true, Shaped: len(shaped) > 0})
	}
	return filters, len(shaped) == 0
}

// egressFilters returns which of what the pod sends goes to the ifb.
func (c *Config) egressFilters(ifb int) []link.Filter {
	unshaped, shaped := c.subnets()
	var filters []link.Filter
	for _, s := range unshaped {
		filters = append(filters, link.Filter{Subnet: s})
	}
	for _, s := range shaped {
		filters = append(filters, link.Filter{Subnet: s, Redirect: ifb})
	}
	if len(shaped) == 0 {
		filters = append(filters, link.Filter{Redirect: ifb})
	}
	return filters
}

// limitEgress makes the ifb whole before the first frame is redirected to it.
func (c *Config) limitEgress(call *plugin.Call, host link.Link, t link.TBF) error {
	name := linkName(call.Tag())
	if err := c.begun.write(call.Tag()); err != nil {
		return err
	}
	if err := call.Links.AddIFB(link.Base{Name: name, MTU: host.MTU}); err != nil {
		return errors.Join(exists(err, link.Link{Name: name}), c.begun.remove(call.Tag()))
	}
	ifb, err := call.Links.ByName(name)
	if err != nil {
		return err
	}
	if err := call.Links.Set(ifb, link.Change{Up: true, Alias: plugin.Alias(call.Tag())}); err != nil {
		return err
	}
	if err := c.begun.remove(call.Tag()); err != nil {
		return err
	}
	// The name by which the reference plugin finds it is a convenience, which another
	// interface of the container, or an old kernel, may deny.
	_ = call.Links.AddAltName(ifb, referenceName(call.Attachment))
	if err := call.Links.AddTBF(ifb, t); err != nil {
		return err
	}
	call.Result.Interfaces = append(call.Result.Interfaces, plugin.HostInterface(ifb))
	return call.Links.AddIngress(host, c.egressFilters(ifb.Index))
}

// Check compares queues and filters with what is asked for.
func (c *Config) Check(_ context.Context, call *plugin.Call) error {
	limits := c.limits()
	if limits == (Limits{}) {
		return nil
	}
	host, err := hostEnd(call)
	if err != nil {
		return err
	}
	var errs []error
	if limits.IngressRate > 0 {
		errs = append(errs, check(limits.IngressRate, limits.IngressBurst, func(t link.TBF) error {
			if filters, byDefault := c.ingressFilters(); filters != nil {
				return call.Links.CheckHTB(host, t, byDefault, filters)
			}
			return call.Links.CheckTBF(host, t)
		}))
	}
	if limits.EgressRate > 0 {
		errs = append(errs, check(limits.EgressRate, limits.EgressBurst, func(t link.TBF) error { return c.checkEgress(call, host, t) }))
	}
	return errors.Join(errs...)
}

func (c *Config) checkEgress(call *plugin.Call, host link.Link, t link.TBF) error {
	ifb, err := find(call)
	if err != nil {
		return err
	}
	if !ifb.Up {
		err = fmt.Errorf("link %s: is down", ifb.Name)
	}
	return errors.Join(err, call.Links.CheckTBF(ifb, t), call.Links.CheckIngress(host, c.egressFilters(ifb.Index)))
}

// find returns the attachment's ifb: Seam's, or the one that the reference plugin made.
func find(call *plugin.Call) (link.Link, error) {
	ifb, err := call.Links.ByName(linkName(call.Tag()))
	if !errors.Is(err, fs.ErrNotExist) {
		return ifb, err
	}
	other, otherErr := call.Links.ByName(referenceName(call.Attachment))
	if otherErr == nil && other.Kind == "ifb" && !strings.HasPrefix(other.Alias, plugin.Alias("")) {
		return other, nil
	}
	return ifb, err
}

// Revert lets the pod's traffic pass again. Without the pod the host's end is gone, and
// with it all but the ifb.
func (c *Config) Revert(_ context.Context, call *plugin.Call) error {
	var errs []error
	ifb, findErr := find(call)
	if findErr != nil && !errors.Is(findErr, fs.ErrNotExist) {
		errs = append(errs, findErr)
	}
	if call.Link.Kind == "veth" {
		host, err := call.HostEnd()
		if err == nil {
			err = release(call.Links, host, ifb)
		}
		errs = append(errs, unlessGone(err))
	}
	if findErr == nil {
		errs = append(errs, unlessGone(call.Links.Delete(ifb.Name)))
	}
	return errors.Join(append(errs, c.begun.remove(call.Tag()))...)
}

// release takes the limits off the host's end. The ingress filters there are the
// attachment's if one leads to its ifb or to what is gone, or none is left.
func release(links *link.Handle, host, ifb link.Link) error {
	filters, err := links.IngressFilters(host)
	ours := func(f link.Filter) bool { return f.Redirect == -1 || f.Redirect != 0 && f.Redirect == ifb.Index }
	if err == nil && (len(filters) == 0 || slices.ContainsFunc(filters, ours)) {
		err = unlessGone(links.DeleteIngress(host))
	}
	return errors.Join(err, unlessGone(links.DeleteShaping(host)))
}

func unlessGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Retain deletes the ifbs of attachments that are no more.
func (c *Config) Retain(_ context.Context, h *plugin.Host, r *cni.Request, valid []cni.Tag) error {
	links, err := h.Links()
	if err != nil {
		return err
	}
	return errors.Join(h.RetainLinks(r.Network, valid), c.begun.retain(links, r.Network, valid))
}

// Since is the oldest version that the plugin serves, as the reference has it.
func (c *Config) Since() string { return "0.3.0" }
