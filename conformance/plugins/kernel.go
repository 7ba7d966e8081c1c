package plugins

import "github.com/seamnet/seam/conformance"

func kernelChecks() []check {
	entry := func(name string, force conformance.Force, source, says string, run func(h *host)) check {
		return check{conformance.Check{ID: "kernel/" + name, Force: force, Source: source, Says: says}, nil, run}
	}
	const must, should, open = conformance.Must, conformance.Should, conformance.Open
	const add, del, success = "CNI 1.1.0, section 2, ADD", "CNI 1.1.0, section 2, DEL", "CNI 1.1.0, section 5, ADD success"
	return []check{
		{conformance.Check{ID: "kernel/interface", Force: must, Source: add,
			Says: "ADD makes the interface of the name in CNI_IFNAME inside the pod."}, []Role{Interface}, checkInterface},
		entry("up", should, "practice: nobody else sets the interface up", "The pod's interface is up when ADD returns.", checkUp),
		entry("interfaces", must, success, "Each interface of the result is where the result says, with its MAC address and MTU.", checkInterfaces),
		entry("two-pods", must, success, "The host's interfaces of one pod's result stay as they are when another pod comes and goes.", checkTwoPods),
		entry("addresses", must, success, "The interfaces have the addresses of the result, each with its subnet's length.", checkAddresses),
		entry("no-other-addresses", should, "practice: an address that nobody accounts for is taken twice", "The pod's interface has no addresses but those of the result and link-local ones.", checkNoOtherAddresses),
		entry("usable", should, "practice: programs bind their address at once", "No address of the pod is still looked for duplicates of when ADD returns.", checkUsable),
		entry("routes", must, success, "The pod has each route of the result, by the gateway that the result names.", checkRoutes),
		entry("route-keys", should, "CNI 1.1.0, section 5, routes: priority, table", "A route that is told a priority and a table has them.", checkRouteKeys),
		entry("route-metrics", open, "CNI 1.1.0, section 5, routes: mtu, advmss", "A route that is told an MTU and a maximum segment size has them.", checkRouteMetrics),
		entry("no-default-route", should, success, "The pod has no default route that the result does not name.", checkNoDefaultRoute),
		entry("gateway", should, "practice: a gateway forwards", "A host that is made the gateway has its address and forwards packets.", checkGateway),
		entry("host-untouched", must, "practice: a host keeps its own network", "Neither ADD nor DEL takes from the host addresses and routes that it had.", checkHostUntouched),
		entry("ipv6-turned-off", should, "practice: runtimes make pods with IPv6 turned off", "IPv6 addresses of the result work in a pod that had IPv6 turned off.", checkIPv6TurnedOff),
		entry("mtu", must, "practice: the key mtu of plugins that people know", "The pod's interface has the MTU of the configuration.", checkConfiguredMTU),
		entry("sysctl", must, "practice: the key sysctl of tuning", "The pod's settings are those of the configuration.", checkSysctl),
		entry("bandwidth-ingress", must, "CONVENTIONS, bandwidth", "What a pod is sent is held to the rate in the capability argument.", checkIngress),
		entry("bandwidth-egress", must, "CONVENTIONS, bandwidth", "What a pod sends is held to the rate in the capability argument.", checkEgressRate),
		entry("chosen-mac", must, "CONVENTIONS, mac", "The interface has the MAC address in the capability argument, and the result tells it.", checkChosenMAC),
		entry("chosen-ips", must, "CONVENTIONS, ips", "The pod has the addresses in the capability argument.", checkChosenIPs),
		entry("args-mac", open, "CONVENTIONS, CNI_ARGS", "The interface has the MAC address in CNI_ARGS.", checkArgsMAC),
		entry("args-ip", open, "CONVENTIONS, CNI_ARGS", "The pod has the address in CNI_ARGS.", checkArgsIP),
		entry("long-names", must, "CNI 1.1.0, sections 1 and 2, names", "Names as long as they may be are no obstacle: an interface's, a container's and a network's.", checkLongNames),
		entry("container-ids", must, "CNI 1.1.0, section 2, CNI_CONTAINERID", "Containers whose IDs differ in one character, or in its case, have an attachment each.", checkContainerIDs),
		entry("two-interfaces", must, "CNI 1.1.0, section 2, ADD", "If a container can be attached to a network twice, each interface is as its result says, and DEL of one leaves the other.", checkTwoInterfaces),
		entry("gone", must, del, "DEL takes away all that ADD made in the pod and on the host for it alone.", checkGone),
	}
}
