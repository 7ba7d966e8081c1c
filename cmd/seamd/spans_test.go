package main

import (
	"bytes"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/span"
)

// collector is the receiving end of OpenTelemetry's protocol.
type collector struct {
	mu     sync.Mutex
	bodies []string
	status int // of its answers; 0: 200
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/json" {
		c.status = http.StatusBadRequest
	}
	if c.status != 0 {
		w.WriteHeader(c.status)
		return
	}
	c.bodies = append(c.bodies, string(body))
}

func (c *collector) answer(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = status
}

var spanName = regexp.MustCompile(`"name":"([A-Z][^"]*)"`)

// names returns the spans that were taken since it was last called.
func (c *collector) names() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for _, m := range spanName.FindAllStringSubmatch(strings.Join(c.bodies, ""), -1) {
		names = append(names, m[1])
	}
	c.bodies = nil
	return names
}

// The daemon makes spans of the engine's calls and of what they lead to, and sends them to a
// collector that speaks TLS before it ends.
func TestDockerSpans(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		c := &collector{}
		server := httptest.NewTLSServer(c)
		defer server.Close()
		authority := filepath.Join(t.TempDir(), "ca.pem")
		block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
		if err := os.WriteFile(authority, block, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := seamd("docker", "--state-dir", t.TempDir())
		cmd.Env = []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + server.URL, "SSL_CERT_FILE=" + authority}
		d := start(t, cmd)
		d.until(pluginActivate)
		d.want(defaultSocket, http.MethodPost, "NetworkDriver.CreateNetwork", createNetwork, "{}")
		const endpoint = `{"NetworkID":"` + network + `","EndpointID":"` + network + `"`
		d.want(defaultSocket, http.MethodPost, "NetworkDriver.CreateEndpoint", endpoint+`,"Interface":{"Address":"10.88.0.2/24"}}`, "{")
		d.want(defaultSocket, http.MethodPost, "NetworkDriver.Join", endpoint+`,"SandboxKey":"/run/docker/netns/0123456789ab"}`, "SrcName")
		d.stop()
		got := strings.Join(c.names(), "\n")
		for _, want := range []string{"NetworkDriver.CreateNetwork", "NetworkDriver.Join", "ADD network ", "ADD bridge"} {
			if !strings.Contains(got, want) {
				t.Errorf("no span %q among\n%s", want, got)
			}
		}
	})
}

// What a collector may take later is sent again; what it refuses is not.
func TestSpansAreSentAgain(t *testing.T) {
	c := &collector{}
	server := httptest.NewServer(c)
	var log bytes.Buffer
	s := newSpans(func(name string) string {
		return map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": server.URL, "OTEL_EXPORTER_OTLP_TIMEOUT": "500"}[name]
	}, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelInfo})))
	try := func(status int, name string, want ...string) {
		t.Helper()
		c.answer(status)
		if name != "" {
			_, active := span.Start(s.in(t.Context(), span.Context{}), name, span.Internal)
			active.End(errors.New("x"))
		}
		s.send(t.Context(), time.Second)
		if diff := cmp.Diff(want, c.names()); diff != "" {
			t.Errorf("taken (-want +got)\n%s", diff)
		}
	}
	try(0, "A", "A")
	try(0, "")
	try(http.StatusServiceUnavailable, "B")
	try(http.StatusTooManyRequests, "C")
	try(0, "D", "B", "C", "D")
	try(http.StatusForbidden, "E")
	try(0, "F", "F")
	server.Close()
	try(0, "G")
	if len(s.waiting) != 1 {
		t.Errorf("%d wait for a collector that is away, want 1", len(s.waiting))
	}
	for _, want := range []string{"503 Service Unavailable", "403 Forbidden", "connection refused"} {
		if strings.Count(log.String(), want) != 1 {
			t.Errorf("%q is not once in the log:\n%s", want, &log)
		}
	}
	if n := strings.Count(log.String(), "sent again"); n != 2 {
		t.Errorf("%d times sent again:\n%s", n, &log)
	}
}

// A daemon without a collector makes and sends nothing.
func TestNoSpans(t *testing.T) {
	s := newSpans(func(string) string { return "" }, slog.New(slog.DiscardHandler))
	defer s.start()()
	if ctx := t.Context(); s.in(ctx, span.Context{}) != ctx || s.continued(ctx) != ctx {
		t.Error("spans are recorded")
	}
}
