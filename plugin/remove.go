package plugin

import (
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/nft"
)

// deleteLink deletes the attachment's interface: a veth by the name of its host end,
// anything else, and what a reference plugin made under another name, from inside
// the pod.
func (h *Host) deleteLink(r *cni.Request) error {
	links, err := h.Links()
	if err != nil {
		return err
	}
	if err := links.Delete(HostName(r.Tag())); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return errors.Join(h.disinherit(r), h.deletePodLink(r))
}

func (h *Host) deletePodLink(r *cni.Request) error {
	if r.NetNS == "" {
		return nil
	}
	c, err := h.open(r)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer c.close()
	c.Link, err = c.Pod.ByName(r.IfName)
	if errors.Is(err, fs.ErrNotExist) {
		if err := c.Pod.Delete(link.Aside(r.IfName)); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	if err != nil {
		return err
	}
	if anothers, err := c.anothers(); anothers || err != nil {
		return err
	}
	return c.Pod.Delete(c.Link.Name)
}

// disinherit removes the rules that a reference plugin made for the attachment.
func (h *Host) disinherit(r *cni.Request) error {
	table, err := h.Table()
	if err != nil {
		return err
	}
	_, masqErr := table.DropInherited(nft.LegacyMasquerade(r.Attachment))
	_, guardErr := table.DropInherited(nft.LegacyGuard(r.Attachment))
	return errors.Join(masqErr, guardErr)
}

// inherited reports whether a reference plugin made, in its own form, what the
// owner, who has nothing recorded, lacks.
func inherited(table *nft.Table, o nft.Owner, legacies ...nft.Legacy) bool {
	records, err := table.Owned(o.Tag)
	if err != nil || slices.ContainsFunc(records, func(r nft.Record) bool { return r.Owner == o }) {
		return false
	}
	for _, l := range legacies {
		if there, err := table.Inherited(l); err != nil || !there {
			return false
		}
	}
	return true
}

// anothers reports whether Link is of another attachment of Seam's, made for it or lent to
// it: a DEL after an ADD that was refused for its sake must leave it alone.
func (c *Call) anothers() (bool, error) {
	names, err := c.Pod.AltNames(c.Link)
	if err != nil {
		return false, err
	}
	if i := slices.IndexFunc(names, IsMark); i >= 0 {
		return names[i] != Mark(c.Tag()), nil
	}
	tagged := c.Link
	if c.Link.Kind == "veth" {
		if tagged, err = c.HostEnd(); err != nil {
			return false, nil
		}
	}
	return strings.HasPrefix(tagged.Alias, aliasPrefix) && tagged.Alias != Alias(c.Tag()), nil
}

// RetainForwards takes back what was admitted for links that are gone. A prefix of names,
// which ends in "+", stays: links that it is for may be yet to come.
func (h *Host) RetainForwards() error {
	links, err := h.Links()
	if err != nil {
		return err
	}
	table, err := h.Table()
	if err != nil {
		return err
	}
	admitted, err := table.Admitted()
	errs := []error{err}
	for _, ifname := range admitted {
		if strings.HasSuffix(ifname, "+") {
			continue
		}
		if _, err := links.ByName(ifname); errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, table.RevokeForward(ifname))
		}
	}
	return errors.Join(errs...)
}

// RetainLinks deletes the host's links of the network whose tags are not given.
func (h *Host) RetainLinks(network string, tags []cni.Tag) error {
	links, err := h.Links()
	if err != nil {
		return err
	}
	ours, err := links.Tagged(Alias(cni.NetworkTag(network)))
	if err != nil {
		return err
	}
	valid := make(map[string]bool, len(tags))
	for _, t := range tags {
		valid[Alias(t)] = true
	}
	var errs []error
	for _, l := range ours {
		if valid[l.Alias] {
			continue
		}
		if err := links.Delete(l.Name); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
