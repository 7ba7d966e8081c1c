package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/google/go-cmp/cmp"
	otel "go.opentelemetry.io/otel/trace"

	"github.com/seamnet/seam/netns/netnstest"
)

// collector is the receiving end of OpenTelemetry's protocol, as far as spans are
// concerned.
type collector struct {
	*httptest.Server
	mu     sync.Mutex
	posts  [][]sentSpan
	status int           // of its answers
	delay  time.Duration // before these
}

type sentSpan struct {
	TraceID, SpanID, ParentSpanID, Name string
	Kind                                int
	StartTimeUnixNano                   string
	Status                              struct {
		Code    int
		Message string
	}
}

func newCollector(t *testing.T) *collector {
	c := &collector{status: http.StatusOK}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var request struct {
		ResourceSpans []struct{ ScopeSpans []struct{ Spans []sentSpan } }
	}
	body, err := io.ReadAll(r.Body)
	if err = errors.Join(err, json.Unmarshal(body, &request)); err != nil || r.URL.Path != "/v1/traces" {
		http.Error(w, fmt.Sprint(r.URL, err), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.posts = append(c.posts, request.ResourceSpans[0].ScopeSpans[0].Spans)
	select {
	case <-time.After(c.delay):
	case <-r.Context().Done():
	}
	w.WriteHeader(c.status)
}

// take returns what was sent since it was last called.
func (c *collector) take() [][]sentSpan {
	c.mu.Lock()
	defer c.mu.Unlock()
	posts := c.posts
	c.posts = nil
	return posts
}

// sentTree tells spans as a tree below a parent.
func sentTree(spans []sentSpan, parent, indent string) (lines []string) {
	for _, s := range spans {
		if s.ParentSpanID == parent {
			line := fmt.Sprintf("%s%s %s", indent, s.Name, []string{"", "internal", "server", "client"}[s.Kind])
			if s.Status.Code == 2 {
				line += ": " + s.Status.Message
			}
			lines = append(append(lines, line), sentTree(spans, s.SpanID, indent+"  ")...)
		}
	}
	return lines
}

// givesAddress is an IPAM plugin that notes its place in a trace.
const givesAddress = `#!/bin/sh
echo "$CNI_COMMAND $TRACEPARENT" >>"${0%/*}/notes"
echo '{"cniVersion":"1.1.0","ips":[{"address":"10.1.0.2/24"}]}'
`

const spannedNetwork = `{"cniVersion":"1.1.0","name":"spanned","plugins":[{"type":"bridge","bridge":"spanned0","ipam":{"type":"gives-address"}}]}`

// spanHost is a host with the program as plugin bridge, with an IPAM plugin, a network and a
// pod.
type spanHost struct {
	*testing.T
	dir string
}

func newSpanHost(t *testing.T) *spanHost {
	t.Helper()
	s := &spanHost{t, t.TempDir()}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bridge", "seam"} {
		if err := os.Symlink(self, filepath.Join(s.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"gives-address": givesAddress, "spanned.conflist": spannedNetwork} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	netnstest.NewPod(t, "pod")
	return s
}

// notes returns what the IPAM plugin wrote since it was last called.
func (s *spanHost) notes() string {
	s.Helper()
	file := filepath.Join(s.dir, "notes")
	data, err := os.ReadFile(file)
	if err = errors.Join(err, os.Remove(file)); err != nil {
		s.Fatal(err)
	}
	return string(data)
}

// bridge calls the plugin with ADD and DEL; errors are those of ADD.
func (s *spanHost) bridge(env ...string) (took time.Duration, stderr string) {
	s.Helper()
	for _, verb := range []string{"ADD", "DEL"} {
		cmd := exec.Command(filepath.Join(s.dir, "bridge"))
		cmd.Env = append(append(os.Environ(), "CNI_COMMAND="+verb, "CNI_CONTAINERID=c1", "CNI_IFNAME=eth0", "CNI_NETNS=/run/netns/pod", "CNI_PATH="+s.dir), env...)
		cmd.Stdin = strings.NewReader(`{"cniVersion":"1.1.0","name":"spanned","type":"bridge","bridge":"spanned0","ipam":{"type":"gives-address"}}`)
		var out, said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &said
		start := time.Now()
		if err := cmd.Run(); err != nil {
			s.Fatalf("%s: %v\n%s%s", verb, err, &out, &said)
		}
		if verb == "ADD" {
			took, stderr = time.Since(start), said.String()
		}
	}
	return took, stderr
}

const (
	traceOfTest  = "0af7651916cd43dd8448eb211c80319c"
	parentOfTest = "b7ad6b7169203331"
)

// traced returns ctx as a program with OpenTelemetry's library has it.
func traced(ctx context.Context) context.Context {
	traceID, _ := otel.TraceIDFromHex(traceOfTest)
	spanID, _ := otel.SpanIDFromHex(parentOfTest)
	return otel.ContextWithSpanContext(ctx, otel.NewSpanContext(otel.SpanContextConfig{
		TraceID: traceID, SpanID: spanID, TraceFlags: otel.FlagsSampled,
	}))
}

// libcni's newest hands its caller's trace to plugins: bridge goes on with it, and hands
// it on to the plugin that it executes.
func TestSpansBelowLibcni(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		s, c := newSpanHost(t), newCollector(t)
		t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL)
		list, err := libcni.ConfListFromBytes([]byte(spannedNetwork))
		if err != nil {
			t.Fatal(err)
		}
		ctx := traced(t.Context())
		config := libcni.NewCNIConfigWithCacheDir([]string{s.dir}, t.TempDir(), nil)
		rt := &libcni.RuntimeConf{ContainerID: "c1", IfName: "eth0", NetNS: "/run/netns/pod"}
		if _, err := config.AddNetworkList(ctx, list, rt); err != nil {
			t.Fatal(err)
		}
		if err := config.DelNetworkList(ctx, list, rt); err != nil {
			t.Fatal(err)
		}
		posts := c.take()
		if len(posts) != 2 {
			t.Fatalf("%d posts, want one for each process", len(posts))
		}
		want := []string{"ADD bridge server", "  ADD gives-address client", "DEL bridge server", "  DEL gives-address client"}
		got := append(sentTree(posts[0], parentOfTest, ""), sentTree(posts[1], parentOfTest, "")...)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		told := ""
		for _, post := range posts {
			for _, s := range post {
				if verb, ok := strings.CutSuffix(s.Name, " gives-address"); ok {
					told += verb + " 00-" + traceOfTest + "-" + s.SpanID + "-01\n"
				}
			}
		}
		if diff := cmp.Diff(told, s.notes()); diff != "" {
			t.Errorf("told to the executed plugin (-want +got)\n%s", diff)
		}
	})
}

// The commands go on with a trace, too, and send all spans of the chain at once.
func TestSpansOfCommands(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		s, c := newSpanHost(t), newCollector(t)
		seam := func(args ...string) {
			t.Helper()
			cmd := exec.Command(filepath.Join(s.dir, "seam"), append(args, "--conf-dir", s.dir, "--plugin-dir", s.dir)...)
			cmd.Env = append(os.Environ(), "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="+c.URL+"/v1/traces", "TRACEPARENT=00-"+traceOfTest+"-"+parentOfTest+"-01")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%q: %v\n%s", args, err, out)
			}
		}
		seam("add", "spanned", "pod")
		seam("ls")
		seam("del", "spanned", "pod")
		var got []string
		for _, post := range c.take() {
			got = append(got, sentTree(post, parentOfTest, "")...)
		}
		want := []string{
			"ADD network spanned server", "  ADD bridge internal", "    ADD gives-address client",
			"DEL network spanned server", "  DEL bridge internal", "    DEL gives-address client",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

// What the caller says of a trace, and whether anything is recorded of it.
func TestSpansByCaller(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		s, c := newSpanHost(t), newCollector(t)
		on, parent := "OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL, "TRACEPARENT=00-"+traceOfTest+"-"+parentOfTest
		tests := []struct {
			name    string
			env     []string
			sent    int  // processes that sent spans
			goesOn  bool // the executed plugin is in the caller's trace
			ofSpan  bool // below a span of bridge's, not of the caller's
			sampled string
		}{
			{"not asked for", []string{parent + "-01"}, 0, true, false, "01"},
			{"disabled", []string{on, "OTEL_SDK_DISABLED=true", parent + "-01"}, 0, true, false, "01"},
			{"asked for", []string{on, parent + "-01"}, 2, true, true, "01"},
			{"malformed", []string{on, parent + "-1"}, 2, false, true, "03"},
			{"not sampled", []string{on, parent + "-00"}, 0, true, true, "00"},
			{"sampler off", []string{on, "OTEL_TRACES_SAMPLER=always_off", parent + "-01"}, 0, true, true, "00"},
			{"no propagators", []string{on, "OTEL_PROPAGATORS=none", parent + "-01"}, 2, true, false, "01"},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				_, stderr := s.bridge(tt.env...)
				if posts := c.take(); len(posts) != tt.sent || stderr != "" {
					t.Errorf("%d posts, want %d; stderr %q", len(posts), tt.sent, stderr)
				}
				told := strings.Split(strings.Fields(s.notes())[1], "-")
				if (told[1] == traceOfTest) != tt.goesOn || (told[2] != parentOfTest) != tt.ofSpan || told[3] != tt.sampled {
					t.Errorf("the executed plugin was told %q", told)
				}
			})
		}
	})
}

// Whatever the collector does, a plugin's result is the same, within a bounded time.
func TestCollectorInTrouble(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		s := newSpanHost(t)
		away, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		away.Close()
		unwilling, slow := newCollector(t), newCollector(t)
		unwilling.status, slow.delay = http.StatusServiceUnavailable, time.Minute
		const atMost = 5 * patience // of a busy machine
		tests := []struct{ name, env, want string }{
			{"away", "OTEL_EXPORTER_OTLP_ENDPOINT=http://" + away.Addr().String(), "2 spans are not sent: collector"},
			{"unwilling", "OTEL_EXPORTER_OTLP_ENDPOINT=" + unwilling.URL, "answer: 503 Service Unavailable"},
			{"slow", "OTEL_EXPORTER_OTLP_ENDPOINT=" + slow.URL, context.DeadlineExceeded.Error()},
			{"TLS", "OTEL_EXPORTER_OTLP_ENDPOINT=https://127.0.0.1", "no spans are recorded: https"},
			{"no exporter", "OTEL_TRACES_EXPORTER=console", `OTEL_TRACES_EXPORTER "console"`},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				took, stderr := s.bridge(tt.env)
				if !strings.Contains(stderr, tt.want) || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "seam: ") {
					t.Errorf("stderr %q, want a line with %q", stderr, tt.want)
				}
				if took > atMost {
					t.Errorf("took %v, want at most %v", took, atMost)
				}
			})
		}
	})
}
