package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/span"
)

const (
	// bodyLimit is of one request or answer. A conflist may travel in an option.
	bodyLimit = 1 << 20

	// callTimeout is of one call, unless something else is said.
	callTimeout = 30 * time.Second

	// transferTimeout is for a request to arrive, and for an answer to be taken.
	transferTimeout = 10 * time.Second

	contentType = "application/vnd.docker.plugins.v1.2+json"
)

// A Server answers engines. Its zero value answers, and implements nothing.
type Server struct {
	Name string // for logs

	// Driver and IPAM are called for several things at once. Nil: the server does not
	// say that it is one, and has none of its methods.
	Driver cnm.Driver
	IPAM   cnm.IPAM

	// Timeout is of one call; 0: 30 s. An engine waits for ever, even before it has
	// started, so it is answered in time although the driver does not heed its context.
	Timeout time.Duration

	Log *slog.Logger // nil: none

	// Observe is told of every call of a method that there is; nil: nobody is.
	Observe func(method string, took time.Duration, err error)

	calls sync.WaitGroup // of the driver, on their way
}

// Serve answers on l until ctx ends, then waits for the calls on their way, no longer than
// these may take. It closes l. The end of ctx is no error.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: transferTimeout,
		ReadTimeout:       transferTimeout,
		WriteTimeout:      s.timeout() + 2*transferTimeout,
		// An engine that sends when its idle connection is being closed sends again
		// without the body, and what it wanted fails. So it keeps its connections.
		IdleTimeout: -1,
		ErrorLog:    slog.NewLogLogger(s.log().Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	var broke error
	select {
	case broke = <-ended:
	case <-ctx.Done():
	}
	rest, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout()+transferTimeout)
	defer cancel()
	err := errors.Join(broke, server.Shutdown(rest), s.wait(rest), server.Close())
	if err != nil {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	return nil
}

// wait waits for the driver. Calls were bounded when they began: what still runs when ctx
// ends does not heed its own.
func (s *Server) wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		s.calls.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errors.New("a call of the driver does not end")
	}
}

// ServeHTTP answers one call. That the peer goes away does not end it: an engine calls
// again, and is to find the first call done or on its way, not half undone.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	do := s.method(name)
	if do == nil {
		s.answer(w, http.StatusNotFound, refusal(fmt.Errorf("no method %q", name)))
		return
	}
	start := time.Now()
	ctx, active := span.Start(called(r), name, span.Internal)
	status, value, err := http.StatusOK, any(nil), error(nil)
	if r.Method != http.MethodPost {
		status, err = http.StatusMethodNotAllowed, fmt.Errorf("method %s of HTTP: only POST is served", r.Method)
	} else if body, readErr := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyLimit)); readErr != nil {
		status, err = http.StatusBadRequest, fmt.Errorf("request: %w", readErr)
	} else if value, err = s.run(ctx, name, do, body); err != nil {
		if _, bad := errors.AsType[*requestError](err); bad {
			status = http.StatusBadRequest
		}
	}
	took := time.Since(start)
	active.End(err)
	if err != nil {
		value = refusal(err)
		s.log().Warn("call failed", "method", name, "took", took, "err", err)
	} else {
		s.log().Debug("call", "method", name, "took", took)
	}
	if s.Observe != nil {
		s.Observe(name, took, err)
	}
	s.answer(w, status, value)
}

// called returns a context for a call, at its caller's place in a trace if it has one.
func called(r *http.Request) context.Context {
	ctx := context.WithoutCancel(r.Context())
	if caller, ok := span.Parse(r.Header.Get("Traceparent"), r.Header.Get("Tracestate")); ok {
		ctx = span.Continue(ctx, caller)
	}
	return ctx
}

// run returns what the method does, or an error when its time is over. The driver goes on
// then, and Serve waits for it.
func (s *Server) run(ctx context.Context, name string, do method, body []byte) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout())
	type outcome struct {
		value any
		err   error
	}
	done := make(chan outcome, 1)
	s.calls.Go(func() {
		defer cancel()
		defer func() {
			if p := recover(); p != nil {
				s.log().Error("driver panicked", "method", name, "panic", p, "stack", string(debug.Stack()))
				done <- outcome{err: fmt.Errorf("panic: %v", p)}
			}
		}()
		value, err := do(ctx, body)
		done <- outcome{value, err}
	})
	// The driver's own answer at the end of its time says more than that the time is over.
	overdue := time.NewTimer(s.timeout() + min(s.timeout()/10, time.Second))
	defer overdue.Stop()
	select {
	case o := <-done:
		return o.value, o.err
	case <-overdue.C:
		return nil, fmt.Errorf("not done after %v: %w", s.timeout(), context.DeadlineExceeded)
	}
}

// answer writes v. Whoever asked may be gone: there is nobody to tell.
func (s *Server) answer(w http.ResponseWriter, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		data, _ = json.Marshal(refusal(fmt.Errorf("answer: %w", err)))
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	w.Write(append(data, '\n'))
}

func (s *Server) timeout() time.Duration {
	if s.Timeout > 0 {
		return s.Timeout
	}
	return callTimeout
}

func (s *Server) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log.With("driver", s.Name)
}

// A refusalForm is an error: engines read Err of a network driver and Error of an IPAM
// driver.
type refusalForm struct{ Err, Error string }

func refusal(err error) refusalForm {
	text := err.Error()
	if text == "" {
		text = "unknown error" // empty, it would be a success
	}
	return refusalForm{text, text}
}
