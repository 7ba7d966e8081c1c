package docker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
)

// optionPrefix begins the keys that are Seam's, in -o, --driver-opt and labels.
const optionPrefix = "seam."

// Keys that others speak of.
const (
	optionNetwork  = optionPrefix + "network"
	optionConflist = optionPrefix + "conflist"
)

// options are what `docker network create -o` says. One of Network, Conflist and link is
// what the network's chain comes from.
type options struct {
	Network  string          // of the host's networks; empty: none of them
	Conflist json.RawMessage // inline; nil: none

	link     linkOptions
	Defaults seam.Wishes // of every endpoint: bandwidth, args, capabilities

	IfPrefix string     // of the interfaces' names in containers; empty: eth
	HostIP   netip.Addr // where ports are published that name no address; invalid: everywhere
}

// linkOptions are of a network that is made of options. nil and zero are defaults, which
// generate knows.
type linkOptions struct {
	kind   kind
	bridge string // its name
	master string // the interface below
	mode   string // of macvlan or ipvlan
	mtu    int
	vlan   int
	ipam   json.RawMessage // instead of the addresses of an IPAM driver

	masq4, masq6 *bool
	gateway      *bool // the bridge has the gateway's address
	isolated     bool  // a gateway mode that is for internal networks only
	isolate      *bool // no traffic with other bridges that are isolated
	neighbours   *bool // traffic between the network's containers
}

// A kind is the type of the plugin that makes a generated network's interfaces.
type kind string

const (
	kindBridge  kind = "bridge"
	kindMacvlan kind = "macvlan"
	kindIpvlan  kind = "ipvlan"
	kindPtp     kind = "ptp"
)

// An option is a key of -o and how its value is read.
type option struct {
	key  string
	read func(o *options, value string) error
	only []kind // generated networks that have it; nil: any network has it
}

// networkOptions are all keys that mean something. Those without Seam's prefix are of
// Docker's own drivers, so that their compose files go on working.
func networkOptions() []option {
	bridged := []kind{kindBridge}
	stacked := []kind{kindMacvlan, kindIpvlan}
	routed := []kind{kindBridge, kindPtp}
	every := []kind{kindBridge, kindMacvlan, kindIpvlan, kindPtp}
	return slices.Concat([]option{
		{optionNetwork, readNetwork, nil},
		{optionConflist, readConflist, nil},
		{"seam.type", readKind, every},
		{"seam.bridge", readBridge, bridged},
		{"seam.master", readMaster, stacked},
		{"seam.parent", readMaster, stacked},
		{"seam.mode", readMode, stacked},
		{"seam.mtu", readMTU, every},
		{"seam.vlan", readVLAN, bridged},
		{"seam.ipmasq", readMasq, routed},
		{"seam.gateway", readBool(func(o *options, b *bool) { o.link.gateway = b }), bridged},
		{"seam.isolate", readBool(func(o *options, b *bool) { o.link.isolate = b }), bridged},
		{"seam.icc", readICC, bridged},
		{"seam.ipam", readIPAM, every},
		{"seam.ifprefix", readIfPrefix, nil},
		{"seam.hostip", readHostIP, nil},
		{"seam.bandwidth", readWish("bandwidth"), nil},
		{"seam.args", readWish("args"), nil},
		{"seam.capabilities", readWish("capabilities"), nil},
	}, dockerOptions(bridged, stacked, routed, every))
}

// dockerOptions are the keys of Docker's drivers bridge, macvlan and ipvlan that have a
// counterpart here.
func dockerOptions(bridged, stacked, routed, every []kind) []option {
	const bridge = "com.docker.network.bridge."
	return []option{
		{"com.docker.network.driver.mtu", readMTU, every},
		{"com.docker.network.container_iface_prefix", readIfPrefix, nil},
		{bridge + "name", readBridge, bridged},
		{bridge + "enable_icc", readICC, bridged},
		{bridge + "enable_ip_masquerade", readMasq, routed},
		{bridge + "host_binding_ipv4", readHostIP, nil},
		{bridge + "inhibit_ipv4", readInhibit, bridged},
		{bridge + "gateway_mode_ipv4", readGatewayMode(func(o *options) **bool { return &o.link.masq4 }), bridged},
		{bridge + "gateway_mode_ipv6", readGatewayMode(func(o *options) **bool { return &o.link.masq6 }), bridged},
		{"parent", readMaster, stacked},
		{"macvlan_mode", readMode, []kind{kindMacvlan}},
		{"ipvlan_mode", readMode, []kind{kindIpvlan}},
		{"ipvlan_flag", readIpvlanFlag, []kind{kindIpvlan}},
	}
}

// parseOptions reads what -o says. An unknown key of Seam's is an error, as what it was
// to say would be lost in silence; unknown keys of others are passed over.
func parseOptions(given map[string]string) (*options, error) {
	o := &options{}
	known := networkOptions()
	var used []option
	for _, key := range slices.Sorted(maps.Keys(given)) {
		i := slices.IndexFunc(known, func(k option) bool { return k.key == key })
		if i < 0 && strings.HasPrefix(key, optionPrefix) {
			return nil, fmt.Errorf("-o %s: unknown; %s", key, meant(key, known))
		}
		if i < 0 {
			continue
		}
		if err := known[i].read(o, given[key]); err != nil {
			return nil, fmt.Errorf("-o %s: %w", pair(key, given[key]), err)
		}
		used = append(used, known[i])
	}
	if err := o.settleKind(used); err != nil {
		return nil, err
	}
	return o, nil
}

// longestValue is how much of a value errors show: whole configurations are not.
const longestValue = 60

func pair(key, value string) string {
	if len(value) > longestValue {
		return key
	}
	return key + "=" + value
}

// meant says which key is the nearest to an unknown one, or all if none is near.
func meant(key string, known []option) string {
	var names []string
	for _, k := range known {
		if strings.HasPrefix(k.key, optionPrefix) {
			names = append(names, k.key)
		}
	}
	return nearest(key, names)
}

// settleKind finds which network is to be generated, if one is, and refuses keys that
// have no meaning for it.
func (o *options) settleKind(used []option) error {
	generated := o.Network == "" && o.Conflist == nil
	if o.Network != "" && o.Conflist != nil {
		return fmt.Errorf("-o %s and -o %s exclude one another: name a network of the host, or give one", optionNetwork, optionConflist)
	}
	if generated && o.link.kind == "" {
		o.link.kind = implied(used)
	}
	for _, k := range used {
		switch {
		case k.only == nil:
		case !generated:
			return fmt.Errorf("-o %s is for networks that are made of options: with -o %s or %s the network is as it is there", k.key, optionNetwork, optionConflist)
		case !slices.Contains(k.only, o.link.kind):
			return fmt.Errorf("-o %s has no meaning for a network of type %s, only for %s", k.key, o.link.kind, kinds(k.only))
		}
	}
	if generated {
		return o.link.validate()
	}
	return nil
}

// implied is the kind of a network whose options do not say it: that of the driver that
// the keys are of. Keys that two drivers have stand for macvlan.
func implied(used []option) kind {
	for _, k := range used {
		if len(k.only) == 1 {
			return k.only[0]
		}
	}
	for _, k := range used {
		if slices.Contains(k.only, kindMacvlan) && !slices.Contains(k.only, kindBridge) {
			return kindMacvlan
		}
	}
	return kindBridge
}

func kinds(list []kind) string {
	var words []string
	for _, k := range list {
		words = append(words, string(k))
	}
	return strings.Join(words, ", ")
}

func (l *linkOptions) validate() error {
	modes := map[kind][]string{
		kindMacvlan: {"bridge", "private", "vepa", "passthru"},
		kindIpvlan:  {"l2", "l3", "l3s"},
	}[l.kind]
	if l.mode != "" && !slices.Contains(modes, l.mode) {
		return fmt.Errorf("mode %q: %s has %s", l.mode, l.kind, strings.Join(modes, ", "))
	}
	return nil
}

func readNetwork(o *options, value string) error {
	o.Network = value
	return cni.CheckNetworkName(value)
}

func readConflist(o *options, value string) error {
	n, err := seam.Parse([]byte(value), "")
	if err != nil {
		return err
	}
	if err := cni.CheckNetworkName(n.Name); err != nil {
		return err
	}
	if len(n.Plugins) == 0 {
		return errors.New(`no "plugins"`)
	}
	o.Conflist = json.RawMessage(value)
	return nil
}

func readKind(o *options, value string) error {
	o.link.kind = kind(value)
	all := []kind{kindBridge, kindMacvlan, kindIpvlan, kindPtp}
	if !slices.Contains(all, o.link.kind) {
		return fmt.Errorf("none of %s; for other plugins give a configuration with -o %s", kinds(all), optionConflist)
	}
	return nil
}

func readBridge(o *options, value string) error {
	return once(&o.link.bridge, value, cni.CheckIfName(value))
}

func readMaster(o *options, value string) error {
	return once(&o.link.master, value, cni.CheckIfName(value))
}

func readMode(o *options, value string) error { return once(&o.link.mode, value, nil) }

// once sets what two keys may say, as long as they agree.
func once(to *string, value string, err error) error {
	if err == nil && *to != "" && *to != value {
		err = fmt.Errorf("another key says %q", *to)
	}
	*to = value
	return err
}

func readMTU(o *options, value string) error {
	n, err := strconv.ParseUint(value, 10, 16)
	if err != nil {
		return errors.New("must be 0 (the kernel's default) to 65535")
	}
	if o.link.mtu != 0 && o.link.mtu != int(n) {
		return fmt.Errorf("another key says %d", o.link.mtu)
	}
	o.link.mtu = int(n)
	return nil
}

func readVLAN(o *options, value string) error {
	n, err := strconv.ParseUint(value, 10, 12)
	if err != nil || n == 0 || n > 4094 {
		return errors.New("must be 1 to 4094")
	}
	o.link.vlan = int(n)
	return nil
}

func readBool(set func(o *options, b *bool)) func(*options, string) error {
	return func(o *options, value string) error {
		b, err := strconv.ParseBool(value)
		if err != nil {
			return errors.New("must be true or false")
		}
		set(o, &b)
		return nil
	}
}

// readMasq sets what a gateway mode has not: that is of one family, and so more exact.
func readMasq(o *options, value string) error {
	return readBool(func(o *options, b *bool) {
		for _, masq := range []**bool{&o.link.masq4, &o.link.masq6} {
			if *masq == nil {
				*masq = b
			}
		}
	})(o, value)
}

func readICC(o *options, value string) error {
	return readBool(func(o *options, b *bool) { o.link.neighbours = b })(o, value)
}

func readInhibit(o *options, value string) error {
	return readBool(func(o *options, b *bool) { o.link.gateway = new(!*b) })(o, value)
}

// readGatewayMode reads how a family leaves the bridge: under the host's address or its
// own, or not at all.
func readGatewayMode(masq func(*options) **bool) func(*options, string) error {
	return func(o *options, value string) error {
		switch value {
		case "nat", "nat-unprotected":
			*masq(o) = new(true)
		case "routed":
			*masq(o) = new(false)
		case "isolated":
			o.link.isolated = true
		default:
			return errors.New("none of nat, nat-unprotected, routed, isolated")
		}
		return nil
	}
}

func readIpvlanFlag(_ *options, value string) error {
	if value != "bridge" {
		return errors.New("containers of an ipvlan network always reach one another: only bridge can be had")
	}
	return nil
}

// readIPAM takes the name of a plugin, or the whole section.
func readIPAM(o *options, value string) error {
	section := []byte(value)
	if !strings.HasPrefix(strings.TrimSpace(value), "{") {
		section, _ = json.Marshal(map[string]string{"type": value})
	}
	var known struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(section, &known); err != nil {
		return fmt.Errorf(`neither the name of a plugin such as dhcp nor a JSON object such as {"type": "dhcp"}: %w`, err)
	}
	if known.Type == "" {
		return errors.New(`no "type"`)
	}
	o.link.ipam = bytes.TrimSpace(section)
	return nil
}

// longestPrefix leaves room for the number that follows it.
const longestPrefix = 12

func readIfPrefix(o *options, value string) error {
	if len(value) > longestPrefix {
		return fmt.Errorf("longer than %d bytes", longestPrefix)
	}
	return once(&o.IfPrefix, value, cni.CheckIfName(value))
}

func readHostIP(o *options, value string) error {
	addr, err := netip.ParseAddr(value)
	if err != nil || addr.Zone() != "" {
		return errors.New("not an IP address of the host")
	}
	o.HostIP = addr.Unmap()
	return nil
}

func readWish(word string) func(*options, string) error {
	return func(o *options, value string) error { return o.Defaults.Say(word, value) }
}
