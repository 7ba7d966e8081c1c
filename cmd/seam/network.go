package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
)

// defaultPluginDirs are where distributions put plugins.
var defaultPluginDirs = []string{"/opt/cni/bin", "/usr/lib/cni"}

func (c *cli) pluginPath() []string {
	if v := c.getenv("CNI_PATH"); v != "" {
		return filepath.SplitList(v)
	}
	return defaultPluginDirs
}

// runtime returns the runtime on the folders that the flags name.
func (c *cli) runtime() *seam.Runtime {
	rt := c.runtimeAt(c.flags.cacheDirs[0])
	if c.trace != nil {
		rt.Trace = c.trace.step
	}
	return rt
}

func (c *cli) runtimeAt(cacheDir string) *seam.Runtime {
	return &seam.Runtime{Plugins: c.finder(), CacheDir: cacheDir, Timeout: c.flags.timeout}
}

func (c *cli) finder() wire.Path {
	return wire.Path{Dirs: c.flags.pluginDirs, Builtins: c.builtins, Self: c.self, Stderr: c.err}
}

// network loads the network of that name, and has errors printed in its version
// from now on.
func (c *cli) network(name string) (*seam.Network, error) {
	if err := cni.CheckNetworkName(name); err != nil {
		return nil, err
	}
	n, err := seam.Load(c.flags.confDir, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &failure{cni.Errorf(cni.CodeInvalidConfig, "%w", err), exitNotFound,
			"seam ls shows the networks of " + c.flags.confDir + "; --conf-dir names another folder"}
	case err != nil && cni.CodeOf(err) == cni.CodeInternal:
		return nil, hint(cni.Errorf(cni.CodeInvalidConfig, "%w", err), "seam validate %s/* says more", c.flags.confDir)
	case err != nil:
		return nil, hint(err, "seam validate %s/* says more", c.flags.confDir)
	}
	c.spec = n.Version
	return n, nil
}

// knownNetwork is network, but of one whose file is gone, or cannot be read, or comes after
// one that cannot, it returns what an attachment remembers: enough to check and undo.
func (c *cli) knownNetwork(name string) (*seam.Network, error) {
	n, err := c.network(name)
	if err == nil {
		return n, nil
	}
	records, _ := c.runtime().Attachments() // what cannot be read is not remembered
	for _, recorded := range recordedNetworks(records) {
		if recorded.Name == name {
			if exitOf(err) != exitNotFound {
				fmt.Fprintf(c.err, "seam: %v; going by what the network's attachments remember\n", err)
			}
			c.spec = recorded.Version
			return recorded, nil
		}
	}
	return nil, err
}

// recordedNetworks returns the networks that attachments remember, each once.
func recordedNetworks(records []seam.Record) []*seam.Network {
	var networks []*seam.Network
	for i := range records {
		known := slices.ContainsFunc(networks, func(n *seam.Network) bool { return n.Name == records[i].Network })
		if n, err := records[i].Recorded(); err == nil && !known && n.Name == records[i].Network {
			networks = append(networks, n)
		}
	}
	return networks
}

// missingPlugin adds what to do to an error if a plugin of the network cannot be found.
func (c *cli) missingPlugin(n *seam.Network, err error) error {
	for _, p := range n.Plugins {
		if _, _, missing := c.finder().Lookup(p.Type); errors.Is(missing, fs.ErrNotExist) {
			return hint(err, "put %s into one of the folders, or name its folder with --plugin-dir", p.Type)
		}
	}
	return err
}
