package plugins_test

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/conformance"
	"github.com/seamnet/seam/conformance/plugins"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/all"
)

// TestMain is three programs: the tests, a check's process, and, called by the name of a
// plugin, that plugin.
func TestMain(m *testing.M) {
	if code, is := serveFaulty(); is {
		os.Exit(code)
	}
	if code, is := servePlugin(); is {
		os.Exit(code)
	}
	conformance.Serve(conformance.Suites{plugins.SuiteName: plugins.Reopen(builtins)})
	os.Exit(m.Run())
}

func servePlugin() (code int, is bool) {
	name := filepath.Base(os.Args[0])
	if os.Getenv("CNI_COMMAND") == "" || os.Getenv("SEAM_CONFORMANCE_CHECK") != "" {
		return 0, false
	}
	registry := builtins()
	p, is := registry[name]
	if !is {
		return 0, false
	}
	return wire.Serve(context.Background(), p, wire.Call{
		Env: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, About: name,
		Plugins: func([]string) cni.Finder { return registry },
	}), true
}

// builtins are Seam's plugins, and those that are broken on purpose.
func builtins() cni.Registry {
	registry := all.Registry(plugin.NewHost(plugin.DefaultDirs))
	maps.Copy(registry, leaky(registry["bridge"], registry["portmap"]))
	maps.Copy(registry, crooked(registry["bridge"], registry["portmap"]))
	return registry
}
