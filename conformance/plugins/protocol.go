package plugins

import "github.com/seamnet/seam/conformance"

func protocolChecks() []check {
	return []check{
		{conformance.Check{ID: "protocol/version", Force: conformance.Must, Source: "CNI 1.1.0, section 2, VERSION",
			Says: "VERSION answers with the versions that the plugin supports, whatever else the environment holds."}, nil, checkVersion},
	}
}

func checkVersion(h *host) {
	for _, m := range h.network.Subjects {
		a := h.run(m, call{Verb: "VERSION", Path: h.path(), Stdin: []byte(`{"cniVersion":"1.1.0"}`)})
		if a.Exit != 0 {
			h.Errorf("%s: %v", m.Type, a)
		}
	}
}
