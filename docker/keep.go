package docker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns"
)

// firstKept is the number in the name of the first interface that is not handed to the
// engine. An engine counts from 0, does not look what is there, and fails if the name is
// taken.
const firstKept = 10

// keeps reports whether the interface stays where the chain made it, and the engine is not
// told of it. To move a link to another namespace takes the kernel many milliseconds, which
// a container that runs need not wait for. But an engine that left its containers running
// when it ended, and comes back, does not get over interfaces that it does not know (28.5 ends
// with a panic when such a container is removed).
func (d *Driver) keeps(ctx context.Context, e *endpoint, c *who) bool {
	return c != nil && c.Running && !e.Staged && !d.restoresLive(ctx)
}

// restoresLive reports whether the engine may leave containers running when it ends. What
// it said is believed for a while.
func (d *Driver) restoresLive(ctx context.Context) bool {
	d.asking.Lock()
	defer d.asking.Unlock()
	if time.Now().Before(d.liveUntil) {
		return d.live
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	live, err := d.conf.Engine.LiveRestore(ctx)
	if err != nil { // in doubt it does
		d.live, d.liveUntil = true, time.Now().Add(silence)
		return true
	}
	d.live, d.liveUntil = live, time.Now().Add(d.conf.CollectEvery)
	return live
}

// keep makes of the interface what the engine was told, and would make of one that it has.
func (d *Driver) keep(ctx context.Context, n *network, e *endpoint, ns *netns.Namespace) error {
	prefix, err := n.ifPrefix()
	if err != nil {
		return err
	}
	h, err := link.In(ns)
	if err != nil {
		return err
	}
	defer h.Close()
	// The prefix alone: an engine before 28 that restores a container wants one.
	e.Joined = &cnm.Joined{Link: &cnm.Link{Prefix: prefix}}
	l, err := h.ByName(e.IfName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a chain without a link: a userspace interface, say
	}
	if err != nil {
		return err
	}
	if mac := e.mac(); mac != nil && !slices.Equal(mac, l.MAC) {
		if err := h.Set(l, link.Change{MAC: mac}); err != nil {
			return err
		}
	}
	if err := setSysctls(ns, e.Asked.Options[sysctlsOption], e.IfName); err != nil {
		return err
	}
	if e.Joined.Gateways, err = takeWayOut(h, l, e.addresses()); err != nil {
		return err
	}
	return d.revise(ctx, e, e.amend)
}

// amend brings the record in line with what was done to the interface since the chain ran.
func (e *endpoint) amend(r *seam.Record) {
	r.Name = e.Name
	r.Result.Routes = withoutDefault(r.Result.Routes, e.addresses())
	for i := range r.Result.Interfaces {
		if in := &r.Result.Interfaces[i]; in.Sandbox != "" && in.Name == e.IfName && in.MAC != nil && e.mac() != nil {
			in.MAC = e.mac()
		}
	}
}

// sysctlsOption is what --driver-opt says of the interface's settings, KEY=VALUE[,...], with
// IFNAME for its name.
const sysctlsOption = "com.docker.network.endpoint.sysctls"

func setSysctls(ns *netns.Namespace, list, ifName string) error {
	if list == "" {
		return nil
	}
	return ns.Do(func() error {
		for setting := range strings.SplitSeq(list, ",") {
			key, value, _ := strings.Cut(setting, "=")
			if !strings.Contains(key, ".IFNAME.") {
				return fmt.Errorf("--driver-opt %s=%s: must be net.FAMILY.conf.IFNAME.KEY=VALUE", sysctlsOption, list)
			}
			path := strings.ReplaceAll(key, ".", "/")
			if err := link.Sysctl(strings.Replace(path, "IFNAME", ifName, 1)).Set(value); err != nil {
				return err
			}
		}
		return nil
	})
}
