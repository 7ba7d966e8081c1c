package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/seamnet/seam/cnm/wire"
)

// A watchPoint is where others see how the daemon is: /healthz and /metrics.
type watchPoint struct {
	listener net.Listener // nil: there is none
	server   *http.Server
	socket   string // that engines call
}

// openWatchPoint listens at address, HOST:PORT or unix:PATH; empty: nowhere.
func openWatchPoint(address, socket string, m *metrics, log *slog.Logger) (*watchPoint, error) {
	w := &watchPoint{socket: socket}
	if address == "" {
		return w, nil
	}
	l, err := listenAt(address)
	if isTaken(err) {
		return nil, hint(fmt.Errorf("--listen: %w", err), "find who listens there with ss -lp; --listen names another place, and --listen '' none")
	}
	if err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.handler())
	mux.HandleFunc("GET /healthz", w.health)
	w.listener = l
	w.server = &http.Server{
		Handler: mux, ReadHeaderTimeout: watchTime, ReadTimeout: watchTime, WriteTimeout: 2 * watchTime, IdleTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return w, nil
}

// watchTime bounds each part of an answer.
const watchTime = 10 * time.Second

func listenAt(address string) (net.Listener, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return wire.Listen(path)
	}
	return net.Listen("tcp", address)
}

// serve answers until close. It is nothing without a listener.
func (w *watchPoint) serve() error {
	if w.listener == nil {
		return nil
	}
	if err := w.server.Serve(w.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("--listen: %w", err)
	}
	return nil
}

func (w *watchPoint) close() {
	if w.listener != nil {
		w.server.Close()
		w.listener.Close() // for what was never served
	}
}

// health says whether an engine would get an answer.
func (w *watchPoint) health(rw http.ResponseWriter, r *http.Request) {
	err := answers(r.Context(), w.socket)
	rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err != nil {
		rw.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(rw, err)
		return
	}
	fmt.Fprintln(rw, "ok")
}

// answers asks the socket for what is no method: any answer to it is one of the driver's
// server, and no call is counted.
func answers(ctx context.Context, socket string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var dialer net.Dialer
	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true,
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://driver/", nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("socket %s: %w", socket, err)
	}
	return response.Body.Close()
}
