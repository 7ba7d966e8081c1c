package plugins

import "github.com/seamnet/seam/conformance"

func kernelChecks() []check {
	return []check{
		{conformance.Check{ID: "kernel/interface", Force: conformance.Must, Source: "CNI 1.1.0, section 2, ADD",
			Says: "ADD makes the interface of the name in CNI_IFNAME inside the pod."}, []Role{Interface}, checkInterface},
	}
}

func checkInterface(h *host) {
	a := h.attach(h.pod())
	if _, err := a.Pod.links.ByName(a.IfName); err != nil {
		h.Errorf("%v", err)
	}
	a.detach()
}
