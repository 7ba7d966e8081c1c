// Seam attaches containers to networks that CNI describes.
//
// Called under the name of one of its plugins (bridge, ptp, host-local, portmap
// and so on) it is that plugin; else it is the command line. This package owns
// flags, the environment and what is printed. What an attachment is and how it is
// made is the business of the packages below.
//
// To debug: seam --trace shows each plugin call with its time; called as a plugin,
// the program is debugged as package cni/wire says.
//
// The Go runtime is told not to look for limits of processors in the files of cgroups,
// which takes a twentieth of a plugin's call.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0
package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/seamnet/seam/conformance"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/all"
)

// version is of the program; the linker sets it.
var version = "devel"

// self leads to this program's file, even where that was replaced meanwhile.
const self = "/proc/self/exe"

func main() { os.Exit(run()) }

func run() int {
	host := plugin.NewHost(plugin.DefaultDirs)
	defer host.Close()
	builtins := all.Registry(host)
	// A plugin's start-up is on the path of every attachment: it comes first.
	name := filepath.Base(os.Args[0])
	if isDHCPDaemon(name, os.Args[1:]) {
		return int(runDHCPDaemon(os.Args[2:]))
	}
	if p, ok := builtins[name]; ok {
		return servePlugin(name, p, builtins)
	}
	conformance.Serve(suites())
	outliveReaders()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	ctx, sendSpans := withSpans(ctx, os.Getenv, os.Stderr)
	defer sendSpans()
	c := &cli{
		in: input{ctx, os.Stdin}, out: os.Stdout, err: os.Stderr, getenv: os.Getenv,
		self: self, host: host, builtins: builtins, spec: newestVersion,
	}
	return int(c.execute(ctx, os.Args[1:]))
}
