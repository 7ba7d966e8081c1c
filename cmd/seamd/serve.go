package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"

	"github.com/seamnet/seam"
	cni "github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/cnm/wire"
	"github.com/seamnet/seam/docker"
	"github.com/seamnet/seam/docker/engine"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/span"
)

// docker serves the driver until ctx ends, and makes spans of that if these are asked for.
func (c *cli) docker(ctx context.Context, f *dockerFlags, log *slog.Logger) error {
	spans := newSpans(c.getenv, log)
	defer spans.start()()
	return c.drive(spans.in(ctx, span.Context{}), f, log) // each call is a trace of its own
}

// drive serves the driver until ctx ends. The socket comes first: an engine that calls
// while the rest is made waits, where it would fail.
func (c *cli) drive(ctx context.Context, f *dockerFlags, log *slog.Logger) error {
	client, err := f.client()
	if err != nil {
		return err
	}
	socket, err := c.listen(f.socket)
	if err != nil {
		return err
	}
	defer socket.Close()
	m := newMetrics()
	watched, err := openWatchPoint(f.listen, socket.Addr().String(), m, log)
	if err != nil {
		return err
	}
	defer watched.close()

	host := plugin.NewHost(plugin.DefaultDirs)
	defer host.Close()
	seamProgram := openSibling(ctx, c.self, log)
	defer seamProgram.close()
	plugins := cni.Path{Dirs: f.binDirs, Builtins: builtins(host), Self: seamProgram.path(), Stderr: c.err}
	conf := docker.Config{
		Name: f.name, StateDir: f.stateDir, RunDir: f.runDir, ConfDir: f.confDir, Log: log,
		Runtime:      &seam.Runtime{Plugins: plugins, CacheDir: f.cacheDir, Trace: m.step},
		CollectEvery: f.collectEvery,
	}
	if client != nil { // a nil pointer would be an engine that is there
		conf.Engine = client
		defer client.Close()
	}
	d, err := docker.New(conf)
	if err != nil {
		return err
	}
	m.watch(d.Stats)
	server := &wire.Server{Name: f.name, Driver: d, IPAM: d, Timeout: f.timeout, Log: log, Observe: m.call}
	err = c.serve(ctx, log, d, server, socket, watched)
	return errors.Join(err, d.Close())
}

// client returns a client of the engine; nil: none is to be asked.
func (f *dockerFlags) client() (*engine.Client, error) {
	if f.engine == "" {
		return nil, nil
	}
	c, err := engine.New(f.engine)
	if err != nil {
		return nil, usage("", "--%w", err)
	}
	return c, nil
}

// serve answers engines and who watches, and does the driver's own work, until ctx ends or
// one of them cannot go on. What is on its way is finished.
func (c *cli) serve(ctx context.Context, log *slog.Logger, d *docker.Driver, server *wire.Server, socket net.Listener, watched *watchPoint) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var work sync.WaitGroup
	work.Go(func() { d.Run(ctx) })
	work.Go(func() {
		if err := watched.serve(); err != nil {
			stop(err)
		}
	})
	log.Info("serving", "driver", server.Name, "socket", socket.Addr().String(), "version", version)
	c.tell(log, ready)
	work.Go(func() {
		<-ctx.Done()
		log.Info("ending: calls on their way are finished")
		c.tell(log, stopping)
	})
	err := server.Serve(ctx, socket)
	if cause := context.Cause(ctx); err == nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	stop(nil)
	watched.close()
	work.Wait()
	return err
}

func (c *cli) tell(log *slog.Logger, state string) {
	if err := c.notify(state); err != nil {
		log.Warn("systemd is not told", "state", state, "err", err)
	}
}
