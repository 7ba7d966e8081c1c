// Package all lists the plugins that are built in: what programs link to have them
// all. It holds no plugin's code. What a plugin is called here is its "type" in
// configurations and the name under which it is installed.
package all

import (
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/bridge"
	"github.com/seamnet/seam/plugin/loopback"
	"github.com/seamnet/seam/plugin/ptp"
)

// Registry returns the plugins, on that host.
func Registry(h *plugin.Host) cni.Registry {
	return cni.Registry{
		"bridge":   bridge.New(h),
		"loopback": loopback.New(),
		"ptp":      ptp.New(h),
	}
}

// Configs returns, by type, what makes a pointer to a plugin's configuration that
// holds its defaults: what a file's keys are compared with.
func Configs() map[string]func() any {
	return map[string]func() any{
		"bridge":   func() any { return &bridge.Config{Bridge: "cni0"} },
		"loopback": func() any { return &loopback.Config{} },
		"ptp":      func() any { return &ptp.Config{} },
	}
}
