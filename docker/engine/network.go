package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/seamnet/seam/cnm"
)

// A Network is what an engine calls one of its networks.
type Network struct {
	Name   string
	Labels map[string]string
}

// networkForm is the API's, as far as it is read.
type networkForm struct {
	ID         string `json:"Id"`
	Name       string
	Driver     string
	Labels     map[string]string
	Containers map[string]endpointForm // by container's ID, or by endpointKey
	IPAM       struct {
		Driver string
		Config []struct {
			Subnet, Gateway    string
			AuxiliaryAddresses map[string]string
		}
	}
}

type endpointForm struct {
	Name       string // of the container
	EndpointID string

	IPv4Address, IPv6Address string // with the subnet's length
}

// endpointKey stands before the ID of an endpoint that is in no container yet, or in none
// any more.
const endpointKey = "ep-"

// endpoint returns the entry of an endpoint; container is the ID of the container, if it
// says that.
func (n *networkForm) endpoint(id cnm.EndpointID) (container string, e endpointForm, ok bool) {
	for key, e := range n.Containers {
		if e.EndpointID == string(id) || key == endpointKey+string(id) {
			if strings.HasPrefix(key, endpointKey) {
				key = ""
			}
			return key, e, true
		}
	}
	return "", endpointForm{}, false
}

// Network returns what the network is called. An engine does not know it while it waits
// for an answer to CreateNetwork: the error matches fs.ErrNotExist then.
func (c *Client) Network(ctx context.Context, id cnm.NetworkID) (*Network, error) {
	ctx, done := c.bounded(ctx)
	defer done()
	n, err := c.network(ctx, string(id))
	if err != nil {
		return nil, err
	}
	return &Network{Name: n.Name, Labels: n.Labels}, nil
}

func (c *Client) network(ctx context.Context, id string) (*networkForm, error) {
	var n networkForm
	if err := c.get(ctx, "/networks/"+url.PathEscape(id), nil, &n); err != nil {
		return nil, fmt.Errorf("network %s: %w", id, err)
	}
	return &n, nil
}

// Endpoints returns the networks of a driver with the endpoints that the engine has on
// them, be they in a container or on their way into one, and what the container of each is
// called now.
func (c *Client) Endpoints(ctx context.Context, driver string) (map[cnm.NetworkID]map[cnm.EndpointID]string, error) {
	ctx, done := c.bounded(ctx)
	defer done()
	var list []networkForm // without containers
	if err := c.get(ctx, "/networks", filters("driver", driver), &list); err != nil {
		return nil, fmt.Errorf("networks: %w", err)
	}
	all := make(map[cnm.NetworkID]map[cnm.EndpointID]string)
	for _, listed := range list {
		if listed.Driver != driver {
			continue
		}
		n, err := c.network(ctx, listed.ID)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		endpoints := make(map[cnm.EndpointID]string)
		for _, e := range n.Containers {
			endpoints[cnm.EndpointID(e.EndpointID)] = e.Name
		}
		all[cnm.NetworkID(n.ID)] = endpoints
	}
	return all, nil
}

// Addresses are what an IPAM driver gave the engine and the engine has.
type Addresses struct {
	Subnets []netip.Prefix // masked
	InUse   map[netip.Addr]bool
}

// Addresses returns what the engine has of an IPAM driver, on networks of whatever driver.
func (c *Client) Addresses(ctx context.Context, ipam string) (*Addresses, error) {
	ctx, done := c.bounded(ctx)
	defer done()
	var list []networkForm // without containers
	if err := c.get(ctx, "/networks", nil, &list); err != nil {
		return nil, fmt.Errorf("networks: %w", err)
	}
	all := &Addresses{InUse: make(map[netip.Addr]bool)}
	for _, listed := range list {
		if listed.IPAM.Driver != ipam {
			continue
		}
		n, err := c.network(ctx, listed.ID)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		if err := all.add(n); err != nil {
			return nil, fmt.Errorf("%w: network %s: %w", ErrNoAnswer, n.Name, err)
		}
	}
	return all, nil
}

// add notes what is on a network.
func (a *Addresses) add(n *networkForm) error {
	var texts []string
	for _, e := range n.Containers {
		texts = append(texts, e.IPv4Address, e.IPv6Address)
	}
	for _, config := range n.IPAM.Config {
		subnet, err := netip.ParsePrefix(config.Subnet)
		if err != nil {
			return err
		}
		a.Subnets = append(a.Subnets, subnet.Masked())
		texts = append(texts, config.Gateway)
		texts = slices.AppendSeq(texts, maps.Values(config.AuxiliaryAddresses))
	}
	for _, text := range texts {
		text, _, _ := strings.Cut(text, "/")
		if text == "" {
			continue
		}
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return err
		}
		a.InUse[addr.Unmap()] = true
	}
	return nil
}

// filters are what keeps all but one kind out of a list.
func filters(key, value string) url.Values {
	text, _ := json.Marshal(map[string][]string{key: {value}}) // strings always have a form
	return url.Values{"filters": {string(text)}}
}
