package cnm_test

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/seamnet/seam/cni"
	docker "github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/cnm"
	"github.com/seamnet/seam/plugin/plugintest"
)

// TestConfig: what is wrong with a configuration is said in its words.
func TestConfig(t *testing.T) {
	for _, test := range []struct{ keys, want string }{
		{`"driver":"weft"`, ""},
		{`"driver":"weft","ipv6":true`, ""},
		{`"driver":"weft","ipamDriver":"weft","subnets":["10.1.0.0/16","fd00:1::/64"],"gateways":["10.1.0.1","fd00:1::1"],"ipRanges":["10.1.2.0/24"]`, ""},
		{`"driver":"weft","ipam":{"type":"static"},"subnet":"10.1.0.0/16","gateway":"10.1.0.1"`, ""},
		{``, "driver: is missing"},
		{`"driver":"../weft"`, `driver "../weft": is no name of a driver`},
		{`"driver":"weft","ipamDriver":"a/b"`, `ipamDriver "a/b": is no name of a driver`},
		{`"driver":"weft","ipamDriver":"weft","ipam":{"type":"static"}`, "ipam and ipamDriver exclude one another"},
		{`"driver":"weft","ipamOptions":{"a":"b"}`, "are for an ipamDriver"},
		{`"driver":"weft","ipam":{"type":"static"},"ipv6":true`, "ipv6: with ipam"},
		{`"driver":"weft","subnet":"10.1.0.0/16"`, "subnet: goes with ipamDriver or ipam"},
		{`"driver":"weft","ipamDriver":"weft","subnet":"10.1.0.0/16","subnets":["10.2.0.0/16"]`, "subnet: more than one of a family"},
		{`"driver":"weft","ipamDriver":"weft","subnet":"10.1.0.0/16","gateway":"10.2.0.1"`, "gateway 10.2.0.1: is in none of the subnets"},
		{`"driver":"weft","ipamDriver":"weft","gateway":"10.2.0.1"`, "gateway 10.2.0.1: is in none of the subnets"},
		{`"driver":"weft","ipamDriver":"weft","subnet":"10.1.0.0/16","gateways":["10.1.0.1","10.1.0.2"]`, "gateways: more than one of a family"},
		{`"driver":"weft","ipamDriver":"weft","subnet":"10.1.0.0/16","ipRange":"10.0.0.0/8"`, "ipRange 10.0.0.0/8: is in none of the subnets"},
		{`"driver":"weft","ipamDriver":"weft","subnet":"10.1.0.0/16","auxAddresses":{"printer":"10.3.0.1"}`, "auxAddresses 10.3.0.1: is in none of the subnets"},
		{`"driver":"weft","pluginDirs":["plugins"]`, `pluginDirs: "plugins" is no absolute path`},
		{`"driver":"weft","mtu":-1`, "mtu -1"},
		{`"driver":"weft","runtimeConfig":{"portMappings":[{"hostPort":1,"containerPort":0}]}`, "portMappings[0]: containerPort 0"},
		{`"driver":"weft","runtimeConfig":{"portMappings":[{"hostPort":-1,"containerPort":1}]}`, "hostPort -1"},
		{`"driver":"weft","runtimeConfig":{"portMappings":[{"hostPort":1,"containerPort":1,"protocol":"icmp"}]}`, `protocol "icmp"`},
		{`"driver":"weft","runtimeConfig":{"portMappings":[{"hostPort":1,"containerPort":1,"hostIP":"here"}]}`, `hostIP "here"`},
		{`"driver":"weft","options":{"a":1}`, "a string is wanted"},
	} {
		r := plugintest.Request(t, plugintest.Conf("cnm", test.keys), nil, "c1", nil)
		err := r.Decode(&cnm.Config{})
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", test.keys, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: %v, want %q", test.keys, err, test.want)
		}
	}
}

// TestAsked: addresses that cannot be had are refused before an endpoint is made.
func TestAsked(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		for keys, want := range map[string]string{
			`"runtimeConfig":{"ips":["here"]}`:                                 `address "here": is no address`,
			`"runtimeConfig":{"ips":["10.1.0.5"]}`:                             "without an IPAM driver it needs its subnet's length",
			`"runtimeConfig":{"ips":["10.1.0.5/24","10.1.0.6/24"]}`:            "more than one of a family",
			own + `,"runtimeConfig":{"ips":["10.1.0.5"]}`:                      "address 10.1.0.5: is in no subnet of the network",
			own + `,"runtimeConfig":{"mac":"01:00:00:00:00:01"}`:               "a group address",
			own + `,"ipam":{}` + `,"runtimeConfig":{"mac":"over the rainbow"}`: "MAC address",
		} {
			f.Refuses(keys, f.Request(f.conf(keys)), cni.CodeInvalidConfig, want)
			r := f.Request(f.conf(keys))
			if has := strings.Join(f.driver.Has(), ","); strings.Contains(has, "endpoint") {
				t.Errorf("%s: the driver has %s", keys, has)
			}
			f.collected(keys, r)
		}
	})
}

// TestMisled: a driver that answers what cannot be is refused, and what it made is removed.
func TestMisled(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		f := setup(t)
		const given = `"runtimeConfig":{"mac":"02:00:00:00:00:07"},"ipam":{"type":"static","addresses":[{"address":"10.2.0.5/24"}]}`
		for _, test := range []struct {
			name   string
			chosen *docker.Interface
			joined *docker.Joined
			want   string
		}{
			{name: "address", chosen: &docker.Interface{Addresses: []netip.Prefix{prefix("10.2.0.6/24")}}, want: "driver bricks: chose address 10.2.0.6/24 in the place of 10.2.0.5/24"},
			{name: "MAC", chosen: &docker.Interface{MAC: net.HardwareAddr{2, 0, 0, 0, 0, 8}}, want: "driver bricks: chose MAC address 02:00:00:00:00:08 in the place of 02:00:00:00:00:07"},
			{name: "link", joined: &docker.Joined{Link: &docker.Link{Name: "nowhere"}}, want: "driver bricks: says that the link is nowhere, which is not on the host"},
			{name: "none", joined: &docker.Joined{}, want: "driver bricks: names no link to be moved, and has made no interface eth0 in the pod"},
			{name: "gateway", joined: &docker.Joined{Link: &docker.Link{Name: "spare"}, Gateways: []netip.Addr{addr("192.0.2.1")}}, want: "add route 0.0.0.0/0 via 192.0.2.1 dev eth0"},
		} {
			if test.name == "gateway" {
				plugintest.Must(t, f.Host.AddVeth(link.Veth{Name: "spare", PeerName: "spare2"}))
			}
			f.driver.Chosen, f.driver.Joined = test.chosen, test.joined
			f.Refuses(test.name, f.Request(f.conf(given)), cni.CodeInternal, test.want)
			f.driver.Chosen, f.driver.Joined = nil, nil
			if test.name == "gateway" {
				plugintest.Must(t, f.Host.Delete("spare"))
			}
			f.collected(test.name, f.Request(f.conf(given)))
		}
	})
}
