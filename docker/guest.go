package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/docker/ahead"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns"
)

// A guest is what a Docker network is on a bridge of the host that has another subnet:
// Docker's own IPAM chose the addresses. Plugin bridge lets a bridge have one IPv4 address,
// and a second one given by it, before the first, would keep pods away. So the bridge gets its
// own address first, from the chain as it is, and then, from the driver, the gateways of
// Docker's pools; between both subnets the host routes.
type guest struct {
	Bridge   string         `json:"bridge"`
	Gateways []netip.Prefix `json:"gateways"`
}

// bridgeConf is what of plugin bridge's configuration decides about gateways.
type bridgeConf struct {
	Bridge           string `json:"bridge"`
	IsGateway        bool   `json:"isGateway"`
	IsDefaultGateway bool   `json:"isDefaultGateway"`
	VLAN             int    `json:"vlan"`
}

// guestOn returns what the network is on the chain's bridge; nil: no guest.
func guestOn(n *network, chain *seam.Network) *guest {
	if n.Bridge != "" || chain.Plugins[0].Type != "bridge" {
		return nil
	}
	conf := bridgeConf{Bridge: "cni0"}
	if err := json.Unmarshal(chain.Plugins[0].JSON, &conf); err != nil || conf.VLAN != 0 || !conf.IsGateway && !conf.IsDefaultGateway {
		return nil // what is wrong with it the plugin says
	}
	offers, err := ahead.Offers(chain)
	if err != nil || len(offers) == 0 {
		return nil // which subnet is the bridge's own is not known
	}
	g := &guest{Bridge: conf.Bridge}
	for _, pool := range n.Asked.Pools {
		if pool.Gateway.IsValid() && !isOffered(offers, pool) {
			g.Gateways = append(g.Gateways, pool.Gateway)
		}
	}
	if len(g.Gateways) == 0 {
		return nil
	}
	return g
}

func isOffered(offers []ahead.Offer, pool cnm.AddressPool) bool {
	for _, o := range offers {
		if o.Subnet.Overlaps(subnetOf(pool)) {
			return true
		}
	}
	return false
}

// welcome sees that the bridge has its own address and those of Docker's gateways.
func (d *Driver) welcome(ctx context.Context, n *network, g *guest, chain *seam.Network) error {
	release, err := d.networks.hold(ctx, n.id())
	if err != nil {
		return err
	}
	defer release()
	l, err := d.host.ByName(g.Bridge)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err != nil || !d.hasAddress(l) {
		if err := d.prime(ctx, n, chain); err != nil {
			return fmt.Errorf("attach to %s once, for its bridge: %w", chain.Name, err)
		}
		if l, err = d.host.ByName(g.Bridge); err != nil {
			return err
		}
	}
	if now := d.networks.get(n.id()); now != nil && now.Guest == nil { // written down first, as the file may be gone by the end
		now.Guest = g
		if err := d.networks.put(n.id(), now); err != nil {
			return err
		}
	}
	for _, gateway := range g.Gateways {
		if err := d.host.AddAddr(l, link.Addr{Prefix: gateway, NoDAD: true}); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// hasAddress reports whether anybody gave the bridge one, other than the kernel.
func (d *Driver) hasAddress(l link.Link) bool {
	addrs, err := d.host.Addrs(l)
	if err != nil {
		return false
	}
	for _, a := range addrs {
		if !a.Prefix.Addr().IsLinkLocalUnicast() {
			return true
		}
	}
	return false
}

// prime attaches a container that is none, for what the chain makes for all.
func (d *Driver) prime(ctx context.Context, n *network, chain *seam.Network) (err error) {
	path := filepath.Join(d.conf.RunDir, "netns", "first-"+short(n.id()))
	if err := netns.Remove(path); err != nil {
		return err
	}
	ns, err := netns.NewAt(path)
	if err != nil {
		return err
	}
	defer ns.Close()
	defer func() { err = errors.Join(err, netns.Remove(path)) }()
	c := seam.Container{ID: "docker-first-" + short(n.id()), IfName: "eth0", NetNS: path}
	if _, err := d.conf.Runtime.Attach(ctx, chain, c); err != nil {
		return err
	}
	return d.conf.Runtime.Detach(ctx, chain, c)
}

// farewell takes the gateways off the bridge.
func (d *Driver) farewell(g *guest) error {
	l, err := d.host.ByName(g.Bridge)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, gateway := range g.Gateways {
		if err := d.host.DeleteAddr(l, gateway); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// asGuest returns the chain, its addresses pinned, without what it does to the bridge's own
// addresses.
func asGuest(chain *seam.Network) (*seam.Network, error) {
	return rewrite(chain, func(plugins []object) error {
		first := plugins[0]
		var conf struct {
			bridgeConf
			IPAM map[string]json.RawMessage `json:"ipam"`
		}
		text, err := json.Marshal(first)
		if err == nil {
			err = json.Unmarshal(text, &conf)
		}
		if err != nil {
			return err
		}
		if conf.IsDefaultGateway {
			// What static gives beside it stays: it names the gateways.
			if conf.IPAM["routes"], err = withDefaultRoutes(conf.IPAM["routes"]); err != nil {
				return err
			}
			if first["ipam"], err = json.Marshal(conf.IPAM); err != nil {
				return err
			}
		}
		first["isGateway"], first["isDefaultGateway"] = json.RawMessage("false"), json.RawMessage("false")
		return nil
	})
}

// withDefaultRoutes adds to routes those of both families that lead everywhere, by the
// gateways of the addresses; plugins pass over one that there is no gateway for.
func withDefaultRoutes(routes json.RawMessage) (json.RawMessage, error) {
	var list []json.RawMessage
	if !isNull(routes) {
		if err := json.Unmarshal(routes, &list); err != nil {
			return nil, fmt.Errorf(`"routes": %w`, err)
		}
	}
	for _, r := range list {
		var route struct {
			Dst netip.Prefix `json:"dst"`
		}
		if json.Unmarshal(r, &route) == nil && route.Dst == everything4() {
			return routes, nil
		}
	}
	list = append(list, json.RawMessage(`{"dst": "0.0.0.0/0"}`))
	return json.Marshal(list)
}
