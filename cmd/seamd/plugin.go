package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/all"
	"github.com/seamnet/seam/plugin/cnm"
)

// cnmName is the plugin that this program is, and seam is not: it speaks HTTP.
const cnmName = "cnm"

// builtins are all plugins.
func builtins(host *plugin.Host) cni.Registry {
	plugins := all.Registry(host)
	plugins[cnmName] = cnm.New(host)
	return plugins
}

// servePlugin answers one call of the CNI protocol as the plugin cnm and returns the
// process's exit code.
func servePlugin() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	host := plugin.NewHost(plugin.DefaultDirs)
	defer host.Close()
	// A caller that went away must not end the process before its roll-back.
	signal.Ignore(syscall.SIGPIPE)
	spans := newSpans(os.Getenv, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	defer spans.start()()
	return wire.Serve(spans.continued(ctx), spans.made(cnm.New(host)), wire.Call{
		Env: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Plugins: func(dirs []string) cni.Finder {
			return wire.Path{Dirs: dirs, Builtins: builtins(host), Self: "/proc/self/exe", Stderr: os.Stderr}
		},
		About: "Seam's CNI plugin " + cnmName + ", version " + version,
	})
}
