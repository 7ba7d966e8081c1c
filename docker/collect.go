package docker

import (
	"context"
	"time"

	"github.com/seamnet/seam/cnm"
)

// Run goes on with what an earlier driver left half done, and then looks, now and again,
// for what the engine has forgotten: it neither repeats nor reports what it asked to be
// removed. It ends with ctx.
func (d *Driver) Run(ctx context.Context) {
	for _, e := range d.endpoints.all() {
		if e.Rest != nil && !e.Deleted {
			d.await(e)
		}
	}
	endpoints, addresses := suspects{}, suspects{}
	tick := time.NewTicker(d.conf.CollectEvery)
	defer tick.Stop()
	for {
		d.retry(ctx)
		d.collect(ctx, endpoints)
		d.collectAddresses(ctx, addresses)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// retry removes what the engine has asked to be removed and could not be.
func (d *Driver) retry(ctx context.Context) {
	for _, e := range d.endpoints.all() {
		if !e.Deleted || d.endpoints.isHeld(e.id()) {
			continue
		}
		err := d.DeleteEndpoint(ctx, e.Asked.Network, e.Asked.ID)
		d.tell("endpoint removed late", e.id(), err)
	}
}

func (d *Driver) tell(what, id string, err error) {
	if err != nil {
		d.conf.Log.Error("not done, to be tried again: "+what, "id", short(id), "err", err)
		return
	}
	d.conf.Log.Info(what, "id", short(id))
}

// suspects are endpoints and networks that the engine did not know when it was asked
// last. What it does not know twice is stale: one that is being made may be missing once.
type suspects map[string]bool

// collect removes what the engine, asked for it, does not have, and learns the names of what
// it has. If it does not answer, nothing is known. Only what was there before it was asked
// counts, and only on networks that it has told of before: others may be another engine's.
func (d *Driver) collect(ctx context.Context, before suspects) {
	if d.conf.Engine == nil {
		return
	}
	networks, endpoints := d.networks.all(), d.endpoints.all()
	if len(networks)+len(endpoints) == 0 {
		clear(before)
		return
	}
	there, err := d.conf.Engine.Endpoints(ctx, d.conf.Name)
	if err != nil {
		d.conf.Log.Debug("engine not asked for what is stale", "err", err)
		clear(before)
		return
	}
	d.learnNames(ctx, there)
	now := suspects{}
	for _, e := range endpoints {
		if d.isStale(e.Asked.Network, there) || d.isSeen(e.Asked.Network) && !has(there, e) {
			now[e.id()] = true
		}
	}
	for _, n := range networks {
		d.see(n, there)
		if d.isStale(n.Asked.ID, there) {
			now[n.id()] = true
		}
	}
	d.removeStale(ctx, before, now, endpoints, networks)
	clear(before)
	for id := range now {
		before[id] = true
	}
}

// endpointNames are the networks and endpoints that an engine has, and the names of their
// containers.
type endpointNames = map[cnm.NetworkID]map[cnm.EndpointID]string

func has(there endpointNames, e *endpoint) bool {
	_, has := there[e.Asked.Network][e.Asked.ID]
	return has
}

func (d *Driver) isSeen(id cnm.NetworkID) bool {
	n := d.networks.get(string(id))
	return n != nil && n.Seen
}

// isStale reports whether the engine has had the network, and has it no more.
func (d *Driver) isStale(id cnm.NetworkID, there endpointNames) bool {
	_, has := there[id]
	return !has && d.isSeen(id)
}

// see notes that the engine has the network.
func (d *Driver) see(n *network, there endpointNames) {
	if _, has := there[n.Asked.ID]; !has || n.Seen {
		return
	}
	release, err := d.networks.hold(context.Background(), n.id())
	if err != nil {
		return
	}
	defer release()
	if n := d.networks.get(n.id()); n != nil {
		n.Seen = true
		if err := d.networks.put(n.id(), n); err != nil {
			d.tell("network not written down", n.id(), err)
		}
	}
}

func (d *Driver) removeStale(ctx context.Context, before, now suspects, endpoints []*endpoint, networks []*network) {
	for _, e := range endpoints {
		if id := e.id(); before[id] && now[id] && !d.endpoints.isHeld(id) {
			err := d.DeleteEndpoint(ctx, e.Asked.Network, e.Asked.ID)
			d.tell("endpoint removed that the engine does not have", id, err)
			d.collected.Add(1)
		}
	}
	for _, n := range networks {
		if id := n.id(); before[id] && now[id] {
			err := d.DeleteNetwork(ctx, n.Asked.ID)
			d.tell("network removed that the engine does not have", id, err)
			d.collected.Add(1)
		}
	}
}
