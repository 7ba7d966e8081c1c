package seam

import (
	"encoding/json"
	"maps"
	"slices"
)

// A Network is one network configuration (specification 1.1.0, section 1), as
// Load, LoadFile or Parse made it. It is not changed by use and may be shared.
type Network struct {
	Name    string
	Version string // of the specification: the highest that both the file and Seam know; absent in the file: 0.1.0
	Plugins []PluginConfig

	DisableCheck bool // Check does nothing
	DisableGC    bool // Collect does nothing
	InlinedOnly  bool // loadOnlyInlinedPlugins: no drop-in folder

	Raw  []byte // the list as it stands in the file; for a single-plugin file, the list made of it
	File string // where it came from; may be empty
}

// A PluginConfig is one plugin of a network.
type PluginConfig struct {
	Type         string
	IPAM         string   // the type of the plugin that it delegates addresses to; may be empty
	Capabilities []string // those that are set to true, sorted
	JSON         json.RawMessage
	File         string // where it stands: the network's file, or one in its drop-in folder
}

// Capabilities returns the names of all capabilities that some plugin takes,
// sorted.
func (n *Network) Capabilities() []string {
	all := make(map[string]bool)
	for _, p := range n.Plugins {
		for _, c := range p.Capabilities {
			all[c] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}
