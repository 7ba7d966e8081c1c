// Command moby serves two drivers that are Docker's own, its network driver macvlan and its
// default IPAM, as plugins of their own, by Docker's library for such. Nothing of Seam's is
// in it: it is the foreign end in tests.
//
//	moby FOLDER
//
// It makes the sockets FOLDER/moby.sock and FOLDER/mobyipam.sock, and keeps what the
// network driver knows in FOLDER.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"

	"github.com/docker/docker/libnetwork/datastore"
	"github.com/docker/docker/libnetwork/driverapi"
	"github.com/docker/docker/libnetwork/drivers/macvlan"
	"github.com/docker/docker/libnetwork/ipams/defaultipam"
	"github.com/docker/docker/libnetwork/netlabel"
	"github.com/docker/docker/libnetwork/ns"
	"github.com/docker/go-plugins-helpers/ipam"
	"github.com/docker/go-plugins-helpers/network"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: moby FOLDER")
	}
	if err := run(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(dir string) error {
	ns.Init()
	store, err := datastore.New(dir, "networks")
	if err != nil {
		return err
	}
	d := &driver{}
	if err := macvlan.Register(d, store, nil); err != nil {
		return err
	}
	allocator := &addresses{}
	if allocator.Allocator, err = defaultipam.NewAllocator(nil, nil); err != nil {
		return err
	}
	ended := make(chan error)
	go func() { ended <- ipam.NewHandler(allocator).ServeUnix(filepath.Join(dir, "mobyipam.sock"), 0) }()
	go func() { ended <- network.NewHandler(d).ServeUnix(filepath.Join(dir, "moby.sock"), 0) }()
	return <-ended
}

// A driver is the network driver in the library's words.
type driver struct {
	driverapi.Driver
	capability driverapi.Capability
}

// RegisterDriver is called by the network driver.
func (d *driver) RegisterDriver(_ string, is driverapi.Driver, c driverapi.Capability) error {
	d.Driver, d.capability = is, c
	return nil
}

func (d *driver) GetCapabilities() (*network.CapabilitiesResponse, error) {
	return &network.CapabilitiesResponse{Scope: d.capability.DataScope, ConnectivityScope: d.capability.ConnectivityScope}, nil
}

func (d *driver) CreateNetwork(r *network.CreateNetworkRequest) error {
	v4, err := ipamData(r.IPv4Data)
	if err != nil {
		return err
	}
	v6, err := ipamData(r.IPv6Data)
	if err != nil {
		return err
	}
	generic := map[string]string{}
	given, _ := r.Options[netlabel.GenericData].(map[string]any)
	for k, v := range given {
		generic[k] = fmt.Sprint(v)
	}
	r.Options[netlabel.GenericData] = generic
	return d.Driver.CreateNetwork(context.Background(), r.NetworkID, r.Options, nil, v4, v6)
}

func ipamData(all []*network.IPAMData) ([]driverapi.IPAMData, error) {
	var list []driverapi.IPAMData
	for _, data := range all {
		pool, err := cidr(data.Pool)
		if err != nil {
			return nil, err
		}
		gateway, err := cidr(data.Gateway)
		if err != nil {
			return nil, err
		}
		list = append(list, driverapi.IPAMData{AddressSpace: data.AddressSpace, Pool: pool, Gateway: gateway})
	}
	return list, nil
}

// cidr returns nil for an empty text, and keeps the address.
func cidr(text string) (*net.IPNet, error) {
	if text == "" {
		return nil, nil
	}
	ip, n, err := net.ParseCIDR(text)
	if err != nil {
		return nil, err
	}
	n.IP = ip
	return n, nil
}

func (d *driver) DeleteNetwork(r *network.DeleteNetworkRequest) error {
	return d.Driver.DeleteNetwork(r.NetworkID)
}

func (d *driver) AllocateNetwork(*network.AllocateNetworkRequest) (*network.AllocateNetworkResponse, error) {
	return nil, fmt.Errorf("not of a swarm")
}

func (d *driver) FreeNetwork(*network.FreeNetworkRequest) error { return nil }

func (d *driver) CreateEndpoint(r *network.CreateEndpointRequest) (*network.CreateEndpointResponse, error) {
	i, err := newIface(r.Interface)
	if err != nil {
		return nil, err
	}
	if err := d.Driver.CreateEndpoint(context.Background(), r.NetworkID, r.EndpointID, i, r.Options); err != nil {
		return nil, err
	}
	return &network.CreateEndpointResponse{Interface: &i.chosen}, nil
}

func (d *driver) DeleteEndpoint(r *network.DeleteEndpointRequest) error {
	return d.Driver.DeleteEndpoint(r.NetworkID, r.EndpointID)
}

func (d *driver) EndpointInfo(r *network.InfoRequest) (*network.InfoResponse, error) {
	_, err := d.EndpointOperInfo(r.NetworkID, r.EndpointID)
	return &network.InfoResponse{Value: map[string]string{}}, err
}

func (d *driver) Join(r *network.JoinRequest) (*network.JoinResponse, error) {
	j := &joining{}
	if err := d.Driver.Join(context.Background(), r.NetworkID, r.EndpointID, r.SandboxKey, j, nil, r.Options); err != nil {
		return nil, err
	}
	return &j.JoinResponse, nil
}

func (d *driver) Leave(r *network.LeaveRequest) error {
	return d.Driver.Leave(r.NetworkID, r.EndpointID)
}

func (d *driver) DiscoverNew(*network.DiscoveryNotification) error    { return nil }
func (d *driver) DiscoverDelete(*network.DiscoveryNotification) error { return nil }

func (d *driver) ProgramExternalConnectivity(r *network.ProgramExternalConnectivityRequest) error {
	return d.Driver.ProgramExternalConnectivity(context.Background(), r.NetworkID, r.EndpointID, r.Options)
}

func (d *driver) RevokeExternalConnectivity(r *network.RevokeExternalConnectivityRequest) error {
	return d.Driver.RevokeExternalConnectivity(r.NetworkID, r.EndpointID)
}

// An iface is driverapi.InterfaceInfo.
type iface struct {
	mac    net.HardwareAddr
	v4, v6 *net.IPNet
	chosen network.EndpointInterface
}

func newIface(given *network.EndpointInterface) (*iface, error) {
	i := &iface{}
	if given == nil {
		return i, nil
	}
	var err error
	if given.MacAddress != "" {
		if i.mac, err = net.ParseMAC(given.MacAddress); err != nil {
			return nil, err
		}
	}
	if i.v4, err = cidr(given.Address); err != nil {
		return nil, err
	}
	i.v6, err = cidr(given.AddressIPv6)
	return i, err
}

func (i *iface) SetMacAddress(mac net.HardwareAddr) error {
	i.mac, i.chosen.MacAddress = mac, mac.String()
	return nil
}

func (i *iface) SetIPAddress(ip *net.IPNet) error {
	if ip.IP.To4() != nil {
		i.v4, i.chosen.Address = ip, ip.String()
	} else {
		i.v6, i.chosen.AddressIPv6 = ip, ip.String()
	}
	return nil
}

func (i *iface) MacAddress() net.HardwareAddr { return i.mac }
func (i *iface) Address() *net.IPNet          { return i.v4 }
func (i *iface) AddressIPv6() *net.IPNet      { return i.v6 }
func (i *iface) NetnsPath() string            { return "" }
func (i *iface) SetCreatedInContainer(bool)   {}

// A joining is driverapi.JoinInfo.
type joining struct{ network.JoinResponse }

func (j *joining) InterfaceName() driverapi.InterfaceNameInfo { return j }

func (j *joining) SetNames(src, prefix, _ string) error {
	j.JoinResponse.InterfaceName = network.InterfaceName{SrcName: src, DstPrefix: prefix}
	return nil
}

func (j *joining) SetGateway(ip net.IP) error {
	j.Gateway = ip.String()
	return nil
}

func (j *joining) SetGatewayIPv6(ip net.IP) error {
	j.GatewayIPv6 = ip.String()
	return nil
}

func (j *joining) AddStaticRoute(dst *net.IPNet, kind int, hop net.IP) error {
	r := &network.StaticRoute{Destination: dst.String(), RouteType: kind}
	if hop != nil {
		r.NextHop = hop.String()
	}
	j.StaticRoutes = append(j.StaticRoutes, r)
	return nil
}

func (j *joining) DisableGatewayService() { j.JoinResponse.DisableGatewayService = true }

func (j *joining) AddTableEntry(string, string, []byte) error { return nil }
