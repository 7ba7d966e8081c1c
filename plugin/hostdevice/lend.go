package hostdevice

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/state"
)

// lend moves the device into the pod. What must be known for its way back is written
// first; a kill at any point leaves a device that Return finds.
func (p *Config) lend(ctx context.Context, c *plugin.Call, b *book) error {
	if there, err := c.Pod.ByName(c.IfName); err == nil {
		return cni.Errorf(cni.CodeExists, "interface %s is in the pod %s already, a %s", c.IfName, c.NetNS, there.Kind)
	} else if !link.Missing(err) {
		return err
	}
	if err := p.endEarlier(c, b); err != nil {
		return err
	}
	dev, err := p.find(c, b)
	if err != nil {
		return err
	}
	n, err := p.loan(c, dev)
	if err != nil {
		return err
	}
	if err := b.write(n); err != nil {
		return fmt.Errorf("write down what %s was like: %w", dev.Name, err)
	}
	if err := c.Links.AddAltName(dev, n.mark()); err != nil {
		return err
	}
	err = c.Links.Move(dev, link.Move{To: c.Pod, Name: c.IfName, Alias: dev.Name})
	if errors.Is(err, fs.ErrExist) { // the caller does not undo this
		w := homecoming{book: b, host: c.Links, sys: p.sys, mark: n.mark(), loan: n}
		err = cni.Errorf(cni.CodeExists, "pod %s: a link there is called %s, or as %s is called too: %w", c.NetNS, c.IfName, dev.Name, err)
		return errors.Join(err, w.run(ctx, c.NetNS, ""))
	}
	return err
}

// endEarlier ends an earlier loan to the same attachment, whose record the new one would take
// the place of, if its device is back on the host. As long as a pod has that the loan is not
// over, and while it is out of sight the record is all that is known of it: both are refused.
func (p *Config) endEarlier(c *plugin.Call, b *book) error {
	mark := plugin.Mark(c.Tag())
	was, err := b.read(mark)
	if err != nil && !errors.Is(err, state.ErrUnreadable) { // of that one, the device itself tells its name
		return err
	}
	switch l, err := c.Links.ByName(mark); {
	case err == nil:
		return b.settle(c.Links, l, mark)
	case !link.Missing(err):
		return err
	}
	lent := func(pod *link.Handle) error {
		l, err := pod.ByName(mark)
		if err == nil {
			err = cni.Errorf(cni.CodeExists, "device %s is lent to attachment %s already, as %s in its pod", l.Alias, c.Tag(), l.Name).
				WithDetails("DEL the attachment before it is added again")
		}
		return ignoreMissing(err)
	}
	if err := lent(c.Pod); err != nil || was == nil {
		return err
	}
	if _, err := inside(was.NetNS, lent); err != nil {
		return err
	}
	if was.Physical && !was.atHome(c.Links, p.sys) {
		return cni.Errorf(cni.CodeTryAgain, "device %s, lent to attachment %s before, is neither on the host nor in a pod", was.Name, was.Tag).
			WithDetails("bring it back; if it is gone for good, remove %s", b.path(mark))
	}
	return nil // what was virtual ended with its pod, or never left
}

// find returns the device. What it bears of an earlier loan that nobody ended is settled
// first: it is back on the host, be it that its pod died or that the reference plugin
// brought it back.
func (p *Config) find(c *plugin.Call, b *book) (link.Link, error) {
	s, err := p.selector()
	if err != nil {
		return link.Link{}, err
	}
	dev, err := s.find(c.Links, p.sys)
	if errors.Is(err, fs.ErrNotExist) {
		if err := b.settleStrays(c.Links, func(n *loan) bool { return s.picks(n, p.sys) }); err != nil {
			return dev, err
		}
		dev, err = s.find(c.Links, p.sys)
	}
	if err != nil {
		return dev, s.explain(err, b, p.sys)
	}
	names, err := c.Links.AltNames(dev)
	if err != nil || !slices.ContainsFunc(names, plugin.IsMark) {
		return dev, err
	}
	for _, mark := range names {
		if !plugin.IsMark(mark) {
			continue
		}
		if err := b.settle(c.Links, dev, mark); err != nil {
			return dev, err
		}
	}
	return s.find(c.Links, p.sys)
}

// loan describes the device as it is.
func (p *Config) loan(c *plugin.Call, dev link.Link) (*loan, error) {
	n := &loan{
		Tag: c.Tag(), NetNS: c.NetNS, Name: dev.Name, Device: p.sys.deviceOf(dev.Name), Physical: link.Physical(dev),
		Alias: dev.Alias, MAC: dev.MAC.String(), MTU: dev.MTU, Up: dev.Up,
	}
	var err error
	n.Addresses, err = c.Links.SaveAddrs(dev)
	return n, err
}
