package plugins

import (
	"encoding/json"
	"fmt"
	"strings"
)

// A profile is how a plugin that people know is put on trial where they say no more than
// its type. In the chain, IPAM stands for addresses of both families, LAN for such of the
// cable's network.
type profile struct {
	chain string // JSON objects with commas between
	wants string // what the profile cannot bring; empty: nothing
}

const (
	ipamDual  = `{"type":"host-local","ranges":[[{"subnet":"10.77.0.0/24"}],[{"subnet":"fd00:77::/64"}]],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}]}`
	ipamOfLAN = `{"type":"host-local","ranges":[[{"subnet":"192.0.2.0/24","rangeStart":"192.0.2.100","rangeEnd":"192.0.2.199","gateway":"192.0.2.1"}],
		[{"subnet":"2001:db8::/64","rangeStart":"2001:db8::100","rangeEnd":"2001:db8::199","gateway":"2001:db8::1"}]],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}]}`
	bridge = `{"type":"bridge","bridge":"conform0","isGateway":true,"ipMasq":true,"hairpinMode":true,"capabilities":{"ips":true,"mac":true},"ipam":IPAM}`
	// plain is what chained plugins stand on.
	plain = `{"type":"bridge","bridge":"conform0","isGateway":true,"hairpinMode":true,"ipam":IPAM}`
)

func profiles() map[string]profile {
	chained := func(keys string) profile { return profile{chain: plain + "," + keys} }
	return map[string]profile{
		"bridge":      {chain: bridge},
		"ptp":         {chain: `{"type":"ptp","ipMasq":true,"ipam":IPAM}`},
		"macvlan":     {chain: `{"type":"macvlan","master":"eth0","capabilities":{"mac":true},"ipam":LAN}`},
		"ipvlan":      {chain: `{"type":"ipvlan","master":"eth0","ipam":LAN}`},
		"vlan":        {chain: `{"type":"vlan","master":"eth0","vlanId":5,"ipam":IPAM}`},
		"host-device": {chain: `{"type":"host-device","device":"` + Spare + `","ipam":IPAM}`},
		"tap":         {chain: `{"type":"tap","ipam":IPAM}`},
		"dummy":       {chain: `{"type":"dummy","ipam":IPAM}`},
		"loopback":    {chain: `{"type":"loopback"}`},
		"host-local":  {chain: bridge},
		"static":      {chain: strings.Replace(plain, "IPAM", `{"type":"static","addresses":[{"address":"10.77.0.5/24","gateway":"10.77.0.1"},{"address":"fd00:77::5/64","gateway":"fd00:77::1"}],"routes":[{"dst":"0.0.0.0/0"}]}`, 1)},
		"portmap":     chained(`{"type":"portmap","capabilities":{"portMappings":true}}`),
		"bandwidth":   chained(`{"type":"bandwidth","capabilities":{"bandwidth":true},"ingressRate":800000000,"ingressBurst":80000000,"egressRate":800000000,"egressBurst":80000000}`),
		"tuning":      chained(`{"type":"tuning","capabilities":{"mac":true},"mtu":1400,"sysctl":{"net.ipv4.conf.IFNAME.arp_filter":"1"}}`),
		"firewall":    chained(`{"type":"firewall","backend":"iptables","ingressPolicy":"same-bridge"}`),
		"sbr":         chained(`{"type":"sbr"}`),
		"vrf":         chained(`{"type":"vrf","vrfname":"red"}`),
		"masquerade":  chained(`{"type":"masquerade"}`),
		"wrap":        {chain: `{"type":"wrap","delegate":{"type":"ptp","ipMasq":true,"ipam":IPAM}}`},
		"dhcp":        {wants: "a server and a daemon on this host"},
		"cnm":         {wants: "a driver of Docker's"},
	}
}

// Network returns a conflist for a plugin of that type. Conf is the plugin's own object;
// empty, the type must be one that people know. A chained plugin is put behind a bridge, as are
// those that people know to be.
func Network(pluginType string, conf json.RawMessage, chained bool) (json.RawMessage, error) {
	p, ok := profiles()[pluginType]
	chain := p.chain
	switch {
	case len(conf) > 0 && (chained || ok && strings.Contains(chain, ","+`{"type":"`+pluginType)):
		chain = plain + "," + string(conf)
	case len(conf) > 0:
		chain = string(conf)
	case !ok:
		return nil, fmt.Errorf("plugin %s: how it is configured is not known: give its object, with the key type, as it stands in a network's \"plugins\"", pluginType)
	case p.wants != "":
		return nil, fmt.Errorf("plugin %s: needs %s: give a whole network", pluginType, p.wants)
	}
	chain = strings.NewReplacer("IPAM", ipamDual, "LAN", ipamOfLAN).Replace(chain)
	list := fmt.Appendf(nil, `{"cniVersion":"1.1.0","name":"conformance","plugins":[%s]}`, chain)
	if !json.Valid(list) {
		return nil, fmt.Errorf("plugin %s: its configuration is not valid JSON", pluginType)
	}
	return list, nil
}
