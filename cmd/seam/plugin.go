package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/span"
)

// servePlugin answers one call of the CNI protocol as the plugin and returns the
// process's exit code. Nothing here may cost time.
func servePlugin(name string, p cni.Plugin, builtins cni.Registry) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer time.AfterFunc(slowCall, func() { cancelOnSignal(cancel) }).Stop()
	ctx, sendSpans := withSpans(ctx, os.Getenv, os.Stderr)
	defer sendSpans()
	// A caller that went away must not end the process before its roll-back. What is
	// executed inherits that, and gets an error where it would have been ended.
	signal.Ignore(syscall.SIGPIPE)
	return wire.Serve(ctx, spanned(ctx, name, p), wire.Call{
		Env: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Plugins: func(dirs []string) cni.Finder {
			return wire.Path{Dirs: dirs, Builtins: builtins, Self: self, Stderr: os.Stderr}
		},
		About: "Seam's CNI plugin " + name + ", version " + version,
	})
}

// spanned returns the plugin, with its calls and those of what it delegates to made spans
// if these are recorded.
func spanned(ctx context.Context, name string, p cni.Plugin) cni.Plugin {
	if !span.Recorded(ctx) {
		return p
	}
	traced, err := seam.Traced(cni.Registry{name: p}).Find(name)
	if err != nil {
		return p
	}
	return traced
}

// slowCall is when a call starts to listen to signals. To listen takes the runtime
// half a millisecond of a processor, as much as all else before the work; a call
// that a signal ends sooner is like one that was killed, and cleaned up as such.
const slowCall = 50 * time.Millisecond

func cancelOnSignal(cancel context.CancelFunc) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	<-signals
	cancel()
}
