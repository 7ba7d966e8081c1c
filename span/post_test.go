package span

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEncode(t *testing.T) {
	r := counted()
	caller, _ := Parse(parentOfTest, "a=b")
	_, a := Start(r.In(t.Context(), caller), "ADD x", Internal)
	a.Set("text", "a\xff\"b")
	a.Set("empty", "")
	a.Set("number", 11)
	a.Set("yes", true)
	a.End(errors.New("no room"))
	spans, _ := r.Take()
	got := Encode([]Attribute{{"service.name", "seam"}}, "v1", spans)
	const want = `{"resourceSpans":[{
		"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"seam"}}]},
		"scopeSpans":[{"scope":{"name":"github.com/seamnet/seam/span","version":"v1"},"spans":[{
			"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"0000000000000001","traceState":"a=b","parentSpanId":"b7ad6b7169203331",
			"flags":769,"name":"ADD x","kind":2,"startTimeUnixNano":"1000000000","endTimeUnixNano":"2000000000",
			"attributes":[{"key":"text","value":{"stringValue":"a\ufffd\"b"}},{"key":"number","value":{"intValue":"11"}},{"key":"yes","value":{"boolValue":true}}],
			"status":{"message":"no room","code":2}}]}]}]}`
	if diff := cmp.Diff(value(t, []byte(want)), value(t, got)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func value(t *testing.T, data []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	return v
}

// settingsFor are those of an endpoint.
func settingsFor(t *testing.T, endpoint, more string) *Settings {
	t.Helper()
	s, err := ReadSettings(getter("OTEL_EXPORTER_OTLP_ENDPOINT="+endpoint+" "+more), "seam")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPost(t *testing.T) {
	type request struct{ Method, Path, Type, Key, Body string }
	var got request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = request{r.Method, r.URL.Path, r.Header.Get("Content-Type"), r.Header.Get("X-Key"), string(body)}
		_, _ = w.Write([]byte(`{}`))
	}))
	defer server.Close()
	body := strings.Repeat("x", 1<<20)
	if err := settingsFor(t, server.URL, "OTEL_EXPORTER_OTLP_HEADERS=X-Key=a%3Db").Post(t.Context(), []byte(body)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(request{"POST", "/v1/traces", "application/json", "a=b", body}, got); diff != "" {
		t.Errorf("(-want +got)\n%.400s", diff)
	}
}

// A collector that is in trouble is an error that says so, in time.
func TestPostInTrouble(t *testing.T) {
	away, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	away.Close()
	tests := []struct {
		name, endpoint string
		answer         string // of a server; empty: none, and the connection stays
		want           string
	}{
		{name: "away", endpoint: "http://" + away.Addr().String(), want: "connection refused"},
		{name: "slow", want: "deadline exceeded"},
		{name: "unavailable", answer: "HTTP/1.1 503 Service Unavailable\r\n\r\n", want: "answer: 503 Service Unavailable"},
		{name: "not HTTP", answer: "\x00\x00\x12\x04\n", want: "is no HTTP"},
		{name: "no line", answer: strings.Repeat("x", 1<<16), want: "no answer: bufio: buffer full"},
		{name: "no host", endpoint: "http://collector.invalid", want: "collector.invalid"},
		{name: "TLS", endpoint: "https://127.0.0.1", want: ErrTLS.Error()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.endpoint == "" {
				tt.endpoint = "http://" + answering(t, tt.answer)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			start := time.Now()
			err := settingsFor(t, tt.endpoint, "").Post(ctx, []byte("{}"))
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "collector "+tt.endpoint) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// answering serves connections with the same answer to all that they say.
func answering(t *testing.T, answer string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			_, _ = conn.Write([]byte(answer))
		}
	}()
	return l.Addr().String()
}
