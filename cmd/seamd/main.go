// Seamd is what of Seam stays: the driver by which a Docker engine has the networks that
// CNI describes. It answers until a signal ends it. Called as cnm it is the CNI plugin of
// that name. What a container needs is in the
// kernel and on disk, so that it may end, be replaced and start again at any time.
//
// This package owns flags, sockets, signals, logs and metrics. It is not for what the
// driver does (docker) or says (cnm/wire), nor for commands that do one thing and end
// (cmd/seam).
//
// To debug: --log-level debug says every call; with --listen, /metrics counts them and
// /healthz tells whether the socket that engines call answers.
package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/seamnet/seam/conformance"
)

// version is of the program; the linker sets it.
var version = "devel"

func main() { os.Exit(run()) }

func run() int {
	conformance.Serve(conformSuites()) // does not return if this is the process of a check
	if filepath.Base(os.Args[0]) == cnmName {
		return servePlugin()
	}
	// A broken pipe is an error of who writes to it, and no end. It is caught and not
	// ignored, because executed plugins would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	c := &cli{out: os.Stdout, err: os.Stderr, getenv: os.Getenv, pid: os.Getpid(), self: "/proc/self/exe"}
	return int(c.execute(ctx, os.Args[1:]))
}
