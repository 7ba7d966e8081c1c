package docker

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/docker/engine"
)

// collectAddresses gives back addresses and subnets that the engine does not have, which
// it released when no driver answered. As with endpoints, it is asked twice. As long as there
// is a network of which it never told, another engine may have them.
func (d *Driver) collectAddresses(ctx context.Context, before suspects) {
	if err := d.Restore(ctx); err != nil {
		d.conf.Log.Warn("addresses not as they were", "err", err)
	}
	leases, leaseErr := d.Held()
	pools, poolErr := d.HeldPools()
	if leaseErr != nil || poolErr != nil || len(leases)+len(pools) == 0 || d.conf.Engine == nil {
		clear(before)
		return
	}
	unseen := func(n *network) bool {
		return !n.Seen && slices.ContainsFunc(n.Asked.Pools, func(p cnm.AddressPool) bool { return d.Owns(p.Space) })
	}
	if slices.ContainsFunc(d.networks.all(), unseen) {
		d.conf.Log.Debug("addresses not looked through: there is a network of which the engine has not told")
		return
	}
	there, err := d.conf.Engine.Addresses(ctx, d.conf.Name)
	if err != nil {
		clear(before)
		return
	}
	// What was handed out a moment ago is a container's of which the engine does not tell yet.
	leastAge := 2 * d.conf.CollectEvery
	now := suspects{}
	for _, l := range leases {
		key := fmt.Sprintf("%s %s %s", l.Pool, l.Address, l.Since)
		ofNetwork := l.Gateway && hasPool(there, HeldPool{ID: l.Pool}) // engines do not always list it
		if there.InUse[l.Address] || ofNetwork || time.Since(l.Since) < leastAge {
			continue
		}
		if now[key] = true; before[key] {
			d.tell("address given back that the engine does not have", l.Address.String(), d.Free(ctx, l))
			d.collected.Add(1)
		}
	}
	for _, p := range pools {
		key := fmt.Sprintf("%s %s", p.ID, p.Since)
		if p.Count == 0 || hasPool(there, p) || time.Since(p.Since) < leastAge {
			continue
		}
		if now[key] = true; before[key] {
			d.tell("subnet given back that the engine does not have", string(p.ID), d.FreePool(ctx, p))
			d.collected.Add(1)
		}
	}
	clear(before)
	for key := range now {
		before[key] = true
	}
}

// hasPool reports whether the engine may have the pool: one of all addresses may be any.
func hasPool(there *engine.Addresses, p HeldPool) bool {
	name, err := parsePool(p.ID)
	return err != nil || slices.Contains(there.Subnets, name.Subnet) || slices.Contains(there.Subnets, everything4())
}
