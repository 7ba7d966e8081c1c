package plugins

import "github.com/seamnet/seam/conformance"

// Who says so, where the specification does not speak of packets.
const (
	kubernetesModel = "network model of Kubernetes"
	portConvention  = "CONVENTIONS, portMappings"
)

func networkChecks() []check {
	entry := func(name string, force conformance.Force, source, says string, run func(h *host)) check {
		return check{conformance.Check{ID: "network/" + name, Force: force, Source: source, Says: says}, nil, run}
	}
	const must, should, open = conformance.Must, conformance.Should, conformance.Open
	return []check{
		entry("pod-to-pod", must, kubernetesModel, "Pods of one network reach each other, and see each other's own addresses.", checkPodToPod),
		entry("pod-to-self", should, "practice: programs of a pod call each other by its address", "A pod reaches itself by its own address.", checkPodToSelf),
		entry("pod-to-host", must, kubernetesModel, "A pod reaches the host that is its gateway, which sees the pod's own address.", checkPodToHost),
		entry("host-to-pod", must, kubernetesModel, "The host that is its gateway reaches a pod, which sees an address of the host.", checkHostToPod),
		entry("egress", must, "practice: a default route that leads nowhere is worse than none", "A pod with a route to the outside reaches it and is answered.", checkEgress),
		entry("at-once", should, "practice: programs do not wait for the network", "What the pod sends and is sent passes as soon as ADD has returned.", checkAtOnce),
		entry("masquerade", must, "CNI 1.1.0, section 1, ipMasq", "With translation the outside sees the host's address.", checkMasquerade),
		entry("no-masquerade", must, kubernetesModel, "Without translation the outside sees the pod's own address.", checkNoMasquerade),
		entry("outside-to-pod", open, kubernetesModel, "Who has a route to a pod reaches it.", checkOutsideToPod),
		entry("second-network", should, "practice: networks of one host are others' business", "That another network comes and goes does not cut pods off.", checkSecondNetwork),

		entry("port-from-outside", must, portConvention, "A published port leads to the pod from outside.", checkPortFromOutside),
		entry("port-source", should, "practice: servers log and limit by address", "Who comes by a published port from outside is seen with its own address.", checkPortKeepsSource),
		entry("port-from-host", should, "practice: people try a port from its host", "A published port leads to the pod from the host itself.", checkPortFromHost),
		entry("port-from-localhost", should, "practice: people try a port on 127.0.0.1", "A published port leads to the pod from 127.0.0.1.", checkPortFromLocalhost),
		entry("port-from-localhost6", open, "practice: people try a port on ::1", "A published port leads to the pod from ::1.", checkPortFromLocalhost6),
		entry("port-from-pod", should, "practice: pods call each other by published ports", "A published port leads to the pod from another pod.", checkPortFromPod),
		entry("port-hairpin", should, "practice: a pod calls itself by its published port", "A published port leads to the pod from that pod itself.", checkPortHairpin),
		entry("port-host-ip", must, portConvention, "A port that is published at one address of the host is open at no other.", checkPortHostIP),
		entry("ports-of-two", must, portConvention, "Ports of two pods lead to each, also when the other has gone.", checkPortsOfTwo),
		entry("port-closed", must, "CNI 1.1.0, section 2, DEL", "After DEL the published port is the host's own again.", checkPortClosed),
		entry("port-moves", should, "practice: resolvers and telephones keep their UDP port", "A UDP flow to a published port follows it from one pod to the next.", checkPortMoves),

		entry("mtu", must, "practice: hosts announce an MTU to be believed", "Packets of the interface's MTU pass unfragmented, there and back.", checkMTU),
		entry("path-mtu", open, "practice: tunnels are narrower than Ethernet", "What a pod sends arrives though a link on the way is narrower.", checkPathMTU),
		entry("transfer", must, "practice: a network carries data", "Megabytes arrive whole, there and back.", checkTransfer),
		entry("many-pods", must, "CNI 1.1.0, section 3, lifecycle and ordering", "Thirty pods, attached eight at a time, have an address each and all reach a neighbour and the host.", checkManyPods),

		entry("same-bridge", must, "practice: firewall's ingressPolicy same-bridge", "Pods of one bridge and the host reach a pod, those of another bridge do not, and its own connections pass.", checkSameBridge),
		entry("isolated", must, "practice: firewall's ingressPolicy isolated", "The host reaches a pod, no other pod does, and its own connections pass.", checkIsolated),
		entry("port-isolation", must, "practice: bridge's portIsolation", "The host reaches a pod, its neighbours on the bridge do not.", checkPortIsolation),
		entry("forged-mac", must, "practice: bridge's macspoofchk", "Frames with a forged MAC address do not pass the pod's port.", checkForgedMAC),
	}
}
