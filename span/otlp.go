package span

import (
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"
)

// Encode writes spans as the body of an export request in OTLP's JSON (OTLP
// specification 1, "JSON Protobuf Encoding": numbers of traces and spans in hex, enums
// as integers, 64-bit integers as strings). The resource is the program, and so is the
// scope, in the version given.
func Encode(resource []Attribute, version string, spans []Span) []byte {
	encoded := make([]otlpSpan, len(spans))
	for i := range spans {
		encoded[i] = otlp(&spans[i])
	}
	scope := otlpScopeSpans{Spans: encoded}
	scope.Scope.Name, scope.Scope.Version = "github.com/seamnet/seam/span", version
	all := otlpResourceSpans{ScopeSpans: []otlpScopeSpans{scope}}
	all.Resource.Attributes = otlpAttributes(resource)
	body, _ := json.Marshal(otlpRequest{[]otlpResourceSpans{all}}) // of strings and numbers only
	return body
}

type otlpRequest struct {
	ResourceSpans []otlpResourceSpans `json:"resourceSpans"`
}

type otlpResourceSpans struct {
	Resource struct {
		Attributes []otlpAttribute `json:"attributes,omitempty"`
	} `json:"resource"`
	ScopeSpans []otlpScopeSpans `json:"scopeSpans"`
}

type otlpScopeSpans struct {
	Scope struct {
		Name    string `json:"name"`
		Version string `json:"version,omitempty"`
	} `json:"scope"`
	Spans []otlpSpan `json:"spans"`
}

type otlpSpan struct {
	TraceID    string          `json:"traceId"`
	SpanID     string          `json:"spanId"`
	TraceState string          `json:"traceState,omitempty"`
	ParentID   string          `json:"parentSpanId,omitempty"`
	Flags      uint32          `json:"flags"`
	Name       string          `json:"name"`
	Kind       Kind            `json:"kind"`
	Start      string          `json:"startTimeUnixNano"`
	End        string          `json:"endTimeUnixNano"`
	Attributes []otlpAttribute `json:"attributes,omitempty"`
	Status     otlpStatus      `json:"status"`
}

type otlpStatus struct {
	Message string `json:"message,omitempty"`
	Code    int    `json:"code,omitempty"`
}

// Of a span's status and flags (opentelemetry/proto/trace/v1/trace.proto).
const (
	statusError  = 2
	parentKnown  = 0x100 // it is known whether the parent is remote
	parentRemote = 0x200
)

func otlp(s *Span) otlpSpan {
	o := otlpSpan{
		TraceID: hex.EncodeToString(s.At.Trace[:]), SpanID: hex.EncodeToString(s.At.Span[:]), TraceState: s.At.State,
		Flags: uint32(s.At.Flags) | parentKnown, Name: s.Name, Kind: s.Kind,
		Start: nanoseconds(s.Start), End: nanoseconds(s.End), Attributes: otlpAttributes(s.Attributes),
	}
	if s.Parent.Valid() {
		o.ParentID = hex.EncodeToString(s.Parent.Span[:])
	}
	if s.Parent.Remote {
		o.Flags |= parentRemote
	}
	if s.Err != "" {
		o.Status = otlpStatus{s.Err, statusError}
	}
	return o
}

func nanoseconds(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }

type otlpAttribute struct {
	Key   string         `json:"key"`
	Value map[string]any `json:"value"`
}

func otlpAttributes(list []Attribute) []otlpAttribute {
	var all []otlpAttribute
	for _, a := range list {
		switch v := a.Value.(type) {
		case string:
			all = append(all, otlpAttribute{a.Key, map[string]any{"stringValue": v}})
		case bool:
			all = append(all, otlpAttribute{a.Key, map[string]any{"boolValue": v}})
		case int:
			all = append(all, otlpAttribute{a.Key, map[string]any{"intValue": strconv.Itoa(v)}})
		}
	}
	return all
}
