package docker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/ipam"
)

// errNoIPAM is that a chain takes no addresses.
var errNoIPAM = errors.New(`no plugin has a section "ipam" that Docker's addresses could stand in: create the network with --ipam-driver null, and the chain gives the addresses`)

// pinAddresses returns the network with the addresses that an engine has chosen, and no
// others, for its interface: its section "ipam" is the plugin static's, with the routes
// and DNS that it had. Gateways are those of the pools.
func pinAddresses(n *seam.Network, addresses []netip.Prefix, pools []cnm.AddressPool) (*seam.Network, error) {
	return pin(n, func(old json.RawMessage) (*staticIPAM, error) {
		var kept struct{ Routes, DNS json.RawMessage }
		if err := json.Unmarshal(old, &kept); err != nil {
			return nil, fmt.Errorf(`"ipam": %w`, err)
		}
		section := &staticIPAM{Routes: kept.Routes, DNS: kept.DNS}
		for _, address := range addresses {
			section.Addresses = append(section.Addresses, staticAddress{address, gatewayIn(pools, address.Addr())})
		}
		return section, nil
	})
}

// gatewayIn returns the gateway of the pool that has the address; invalid: there is none.
func gatewayIn(pools []cnm.AddressPool, addr netip.Addr) netip.Addr {
	for _, pool := range pools {
		if subnet := subnetOf(pool); subnet.IsValid() && subnet.Contains(addr) {
			return pool.Gateway.Addr()
		}
	}
	return netip.Addr{}
}

// subnetOf returns the subnet of a pool; invalid: that of the null IPAM driver, which is all
// addresses. A pool of all addresses with a gateway has that one's subnet: see IPAM.
func subnetOf(pool cnm.AddressPool) netip.Prefix {
	switch {
	case pool.Subnet.Bits() > 0:
		return pool.Subnet
	case pool.Gateway.IsValid():
		return pool.Gateway.Masked()
	}
	return netip.Prefix{}
}

// pinLease returns the network with what its IPAM plugin gave ahead of the interface:
// addresses, gateways, routes and DNS.
func pinLease(n *seam.Network, lease *cni.Result) (*seam.Network, error) {
	return pin(n, func(json.RawMessage) (*staticIPAM, error) {
		var err error
		section := &staticIPAM{}
		for _, ip := range lease.IPs {
			section.Addresses = append(section.Addresses, staticAddress{ip.Address, ip.Gateway})
		}
		if len(lease.Routes) > 0 {
			section.Routes, err = json.Marshal(lease.Routes)
		}
		if err == nil && !lease.DNS.IsZero() {
			section.DNS, err = json.Marshal(lease.DNS)
		}
		return section, err
	})
}

// A staticIPAM is a section "ipam" of the plugin static.
type staticIPAM struct {
	Type      string          `json:"type"`
	Addresses []staticAddress `json:"addresses"`
	Routes    json.RawMessage `json:"routes,omitempty"`
	DNS       json.RawMessage `json:"dns,omitempty"`
}

type staticAddress struct {
	Address netip.Prefix `json:"address"`
	Gateway netip.Addr   `json:"gateway,omitzero"`
}

// pin returns the network with another section "ipam".
func pin(n *seam.Network, section func(old json.RawMessage) (*staticIPAM, error)) (*seam.Network, error) {
	return rewrite(n, func(plugins []object) error {
		p := taker(plugins)
		if p == nil {
			return fmt.Errorf("network %s: %w", n.Name, errNoIPAM)
		}
		static, err := section(p["ipam"])
		if err != nil {
			return err
		}
		static.Type = "static"
		if p["ipam"], err = json.Marshal(static); err != nil {
			return err
		}
		return dropAsked(p)
	})
}

// taker returns the plugin that has a section "ipam"; nil: none has.
func taker(plugins []object) object {
	for _, p := range plugins {
		if !isNull(p["ipam"]) {
			return p
		}
	}
	return nil
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || bytes.Equal(raw, []byte("null")) }

// dropAsked removes the addresses of "args", which static takes in place of its own.
func dropAsked(p object) error {
	if isNull(p["args"]) {
		return nil
	}
	var args, conventional object
	if err := json.Unmarshal(p["args"], &args); err != nil {
		return fmt.Errorf(`"args": %w`, err)
	}
	if isNull(args["cni"]) {
		return nil
	}
	if err := json.Unmarshal(args["cni"], &conventional); err != nil {
		return fmt.Errorf(`"args": "cni": %w`, err)
	}
	delete(conventional, "ips")
	var err error
	if args["cni"], err = json.Marshal(conventional); err != nil {
		return err
	}
	p["args"], err = json.Marshal(args)
	return err
}

// contains reports whether the network's addresses are host-local's and it could give out
// this one, which then is to be asked of it: so it is leased, and no pod of another runtime
// gets it. Otherwise the network is pinned.
func contains(n *seam.Network, ip netip.Addr) bool {
	for _, p := range n.Plugins {
		if p.IPAM == "" {
			continue
		}
		return p.IPAM == "host-local" && slices.ContainsFunc(sets(p.JSON), func(s ipam.Set) bool {
			return s.Contains(ip) && !s.IsGateway(ip)
		})
	}
	return false
}

// sets returns the ranges of a plugin's host-local; none if they cannot be read.
func sets(conf []byte) []ipam.Set {
	type span struct {
		Subnet     netip.Prefix `json:"subnet"`
		RangeStart netip.Addr   `json:"rangeStart"`
		RangeEnd   netip.Addr   `json:"rangeEnd"`
		Gateway    netip.Addr   `json:"gateway"`
	}
	var p struct {
		IPAM struct {
			span
			Ranges [][]span `json:"ranges"`
		} `json:"ipam"`
	}
	if err := json.Unmarshal(conf, &p); err != nil {
		return nil
	}
	spans := p.IPAM.Ranges
	if p.IPAM.Subnet.IsValid() {
		spans = append([][]span{{p.IPAM.span}}, spans...)
	}
	var all []ipam.Set
	for _, ranges := range spans {
		var set ipam.Set
		for _, r := range ranges {
			set = append(set, ipam.Range{Subnet: r.Subnet, First: r.RangeStart, Last: r.RangeEnd, Gateway: r.Gateway})
		}
		if set, err := set.Complete(); err == nil {
			all = append(all, set)
		}
	}
	return all
}

// asking returns the network in a form in which these addresses can be asked of its IPAM
// plugin by Wishes.IPs. CNI_ARGS have room for one; for two, one of each family, the
// capability is switched on.
func asking(n *seam.Network, ips []netip.Prefix) (*seam.Network, error) {
	if len(ips) < 2 || slices.Contains(n.Capabilities(), cni.CapabilityIPs) {
		return n, nil
	}
	return rewrite(n, func(plugins []object) error {
		p := taker(plugins)
		if p == nil {
			return fmt.Errorf("network %s: %w", n.Name, errNoIPAM)
		}
		capabilities := map[string]bool{}
		if !isNull(p["capabilities"]) {
			if err := json.Unmarshal(p["capabilities"], &capabilities); err != nil {
				return fmt.Errorf(`"capabilities": %w`, err)
			}
		}
		capabilities[cni.CapabilityIPs] = true
		var err error
		p["capabilities"], err = json.Marshal(capabilities)
		return err
	})
}

// An object is JSON's, its values as they are written.
type object map[string]json.RawMessage

// rewrite returns the network with its plugins changed. The plugins of its drop-in folder
// are in the list then, as a record of an attachment keeps the list alone.
func rewrite(n *seam.Network, change func(plugins []object) error) (*seam.Network, error) {
	var list object
	if err := json.Unmarshal(n.Raw, &list); err != nil {
		return nil, fmt.Errorf("network %s: %w", n.Name, err)
	}
	plugins := make([]object, len(n.Plugins))
	for i, p := range n.Plugins {
		if err := json.Unmarshal(p.JSON, &plugins[i]); err != nil {
			return nil, fmt.Errorf("network %s: plugin %s: %w", n.Name, p.Type, err)
		}
	}
	if err := change(plugins); err != nil {
		return nil, err
	}
	var err error
	if list["plugins"], err = json.Marshal(plugins); err != nil {
		return nil, err
	}
	list["loadOnlyInlinedPlugins"] = json.RawMessage("true")
	raw, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	changed, err := seam.Parse(raw, "")
	if err != nil {
		return nil, err
	}
	changed.File = n.File
	return changed, nil
}
