package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/span"
)

// spans are what this program does, as OpenTelemetry's collector is told of it.
type spans struct {
	settings *span.Settings // nil: nobody asks for them
	recorder *span.Recorder
	client   *http.Client
	log      *slog.Logger

	waiting []span.Span // were not taken by the collector, which may yet
	failed  bool        // the last time
}

// newSpans asks the environment. What is wrong with it is told, and keeps nothing from
// being served.
func newSpans(getenv func(string) string, log *slog.Logger) *spans {
	settings, err := span.ReadSettings(getenv, "seamd")
	if err != nil {
		log.Warn("no spans are recorded", "err", err)
	}
	if err != nil || settings == nil {
		return &spans{}
	}
	host, _ := os.Hostname() // a host without a name is described without it
	settings.Describe("service.version", version)
	settings.Describe("host.name", host)
	return &spans{settings: settings, recorder: settings.Recorder(), client: &http.Client{}, log: log}
}

// in returns ctx with the recorder, at that place in a trace.
func (s *spans) in(ctx context.Context, caller span.Context) context.Context {
	if s.settings == nil {
		return ctx
	}
	return s.recorder.In(ctx, caller)
}

// continued is in at the place at which this process was executed.
func (s *spans) continued(ctx context.Context) context.Context {
	if s.settings == nil {
		return ctx
	}
	return s.in(ctx, s.settings.Caller())
}

// made returns the plugin cnm, with its calls made spans.
func (s *spans) made(p cni.Plugin) cni.Plugin {
	if traced, err := seam.Traced(cni.Registry{cnmName: p}).Find(cnmName); err == nil {
		return traced
	}
	return p
}

// Times of a batch: the standard's defaults (OTEL_BSP_SCHEDULE_DELAY,
// OTEL_EXPORTER_OTLP_TIMEOUT). A program that ends is not held up as long.
const (
	batchEvery = 5 * time.Second
	batchTime  = 10 * time.Second
	lastTime   = time.Second
)

// start sends what was recorded every now and then. What it returns ends that, and sends
// the rest.
func (s *spans) start() (finish func()) {
	if s.settings == nil {
		return func() {}
	}
	ctx, stop := context.WithCancel(context.Background())
	var sending sync.WaitGroup
	sending.Go(func() { s.run(ctx) })
	return func() {
		stop()
		sending.Wait()
		s.send(context.Background(), lastTime)
	}
}

func (s *spans) run(ctx context.Context) {
	every := time.NewTicker(batchEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			s.send(ctx, batchTime)
		}
	}
}

// send sends all that waits, within the time that is told or else the one given. What the
// collector may take later waits again.
func (s *spans) send(ctx context.Context, otherwise time.Duration) {
	fresh, lost := s.recorder.Take()
	batch := append(s.waiting, fresh...)
	if over := len(batch) - longestBatch; over > 0 {
		batch, lost = batch[over:], lost+over
	}
	s.waiting = nil
	if lost > 0 {
		s.log.Warn("spans are lost: there were too many", "count", lost)
	}
	if len(batch) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(s.settings.Timeout, otherwise))
	defer cancel()
	err := s.post(ctx, span.Encode(s.settings.Resource, version, batch))
	if refused, ok := errors.AsType[*refusedError](err); err != nil && (!ok || refused.later()) {
		s.waiting = batch
	}
	switch {
	case err != nil && !s.failed:
		s.log.Warn("spans are not sent", "count", len(batch), "err", err)
	case err != nil:
		s.log.Debug("spans are not sent", "count", len(batch), "err", err)
	case s.failed:
		s.log.Info("spans are sent again", "count", len(batch))
	}
	s.failed = err != nil
}

// longestBatch is how many spans wait for a collector that is away, and are sent at once.
const longestBatch = 2048

// post is span.Settings.Post for https as well.
func (s *spans) post(ctx context.Context, body []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.settings.Endpoint.String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "seamd")
	for _, h := range s.settings.Headers {
		request.Header.Set(h.Name, h.Value)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return fmt.Errorf("collector: %w", err)
	}
	defer response.Body.Close()
	_, _ = io.CopyN(io.Discard, response.Body, 64<<10) // so that the connection is used again
	if response.StatusCode/100 != 2 {
		return &refusedError{s.settings.Endpoint.Redacted(), response.StatusCode}
	}
	return nil
}

// A refusedError is a collector's answer.
type refusedError struct {
	collector string
	status    int
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("collector %s: answer: %d %s", e.collector, e.status, http.StatusText(e.status))
}

// later reports whether the collector asks for another try (OTLP specification, "Retryable
// Response Codes").
func (e *refusedError) later() bool {
	switch e.status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}
