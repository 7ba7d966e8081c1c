package plugin

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
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
	if r.NetNS == "" {
		return nil
	}
	c, err := h.open(r)
	if cni.CodeOf(err) == cni.CodeInvalidNetNS {
		return nil // the namespace is gone, and with it what was inside
	}
	if err != nil {
		return err
	}
	defer c.close()
	pod, err := c.Pod.ByName(r.IfName)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && c.anothers(pod)) {
		return nil
	}
	if err != nil {
		return err
	}
	return c.Pod.Delete(pod.Name)
}

// anothers reports whether the pod's interface is of another attachment of Seam's:
// a DEL after an ADD that was refused for its sake must leave it alone.
func (c *Call) anothers(pod link.Link) bool {
	tagged := pod
	if pod.Peer != 0 {
		host, err := c.Links.ByIndex(pod.Peer)
		if err != nil {
			return false
		}
		tagged = host
	}
	return strings.HasPrefix(tagged.Alias, aliasPrefix) && tagged.Alias != Alias(c.Tag())
}

// retainForwards takes back what Call.Forward admitted for links that are gone.
func (h *Host) retainForwards() error {
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
