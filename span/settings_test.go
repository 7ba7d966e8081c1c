package span

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func getter(vars string) func(string) string {
	all := map[string]string{}
	for kv := range strings.FieldsSeq(vars) {
		key, value, _ := strings.Cut(kv, "=")
		all[key] = value
	}
	return func(name string) string { return all[name] }
}

func TestReadSettings(t *testing.T) {
	const on = "OTEL_TRACES_EXPORTER=otlp "
	tests := []struct{ name, env, want string }{ // want begins with "!" if it is an error
		{"nothing", "", ""},
		{"other variables alone", "OTEL_SERVICE_NAME=x OTEL_PROPAGATORS=b3", ""},
		{"exporter", on, "http://localhost:4318/v1/traces [] 0s [{service.name seam}] {true true}"},
		{"endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT=http://[fd00::1]:80/otlp/", "http://[fd00::1]:80/otlp/v1/traces [] 0s [{service.name seam}] {true true}"},
		{"endpoint of traces", "OTEL_EXPORTER_OTLP_ENDPOINT=http://a OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://b/x", "http://b/x [] 0s [{service.name seam}] {true true}"},
		{"disabled", on + "OTEL_SDK_DISABLED=TRUE", ""},
		{"disabled is another word", on + "OTEL_SDK_DISABLED=1", "http://localhost:4318/v1/traces [] 0s [{service.name seam}] {true true}"},
		{"none", "OTEL_TRACES_EXPORTER=none OTEL_EXPORTER_OTLP_ENDPOINT=http://a", ""},
		{"all", on + "OTEL_EXPORTER_OTLP_PROTOCOL=grpc OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/json OTEL_EXPORTER_OTLP_HEADERS=a=b,c=d%20e OTEL_EXPORTER_OTLP_TIMEOUT=250" +
			" OTEL_SERVICE_NAME=cni OTEL_RESOURCE_ATTRIBUTES=service.name=no,k8s.node.name=n1 OTEL_PROPAGATORS=tracecontext",
			"http://localhost:4318/v1/traces [{a b} {c d e}] 250ms [{service.name cni} {k8s.node.name n1}] {true false}"},
		{"name among attributes", on + "OTEL_RESOURCE_ATTRIBUTES=a=b,service.name=yes", "http://localhost:4318/v1/traces [] 0s [{service.name yes} {a b}] {true true}"},
		{"protobuf", on + "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf OTEL_PROPAGATORS=none", "http://localhost:4318/v1/traces [] 0s [{service.name seam}] {false false}"},

		{"another exporter", "OTEL_TRACES_EXPORTER=zipkin", `!OTEL_TRACES_EXPORTER "zipkin"`},
		{"gRPC", on + "OTEL_EXPORTER_OTLP_PROTOCOL=grpc", `!OTEL_EXPORTER_OTLP_PROTOCOL "grpc": only http/json`},
		{"no scheme", "OTEL_EXPORTER_OTLP_ENDPOINT=localhost:4318", `!OTEL_EXPORTER_OTLP_ENDPOINT "localhost:4318": want http://HOST:PORT`},
		{"no host", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http:///x", `!OTEL_EXPORTER_OTLP_TRACES_ENDPOINT "http:///x"`},
		{"header of two lines", on + "OTEL_EXPORTER_OTLP_HEADERS=a=b%0D%0AHost:%20x", `!OTEL_EXPORTER_OTLP_HEADERS: "a"`},
		{"header without value", on + "OTEL_EXPORTER_OTLP_HEADERS=secret", `!OTEL_EXPORTER_OTLP_HEADERS: not of the form`},
		{"timeout", on + "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT=5s", `!OTEL_EXPORTER_OTLP_TRACES_TIMEOUT "5s"`},
		{"attributes", on + "OTEL_RESOURCE_ATTRIBUTES=a", `!OTEL_RESOURCE_ATTRIBUTES: not of the form`},
		{"propagator", on + "OTEL_PROPAGATORS=tracecontext,b3", `!OTEL_PROPAGATORS "b3"`},
		{"sampler", on + "OTEL_TRACES_SAMPLER=jaeger_remote", `!OTEL_TRACES_SAMPLER "jaeger_remote"`},
		{"sampler's argument", on + "OTEL_TRACES_SAMPLER=traceidratio OTEL_TRACES_SAMPLER_ARG=NaN", `!OTEL_TRACES_SAMPLER_ARG "NaN"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := ReadSettings(getter(tt.env), "seam")
			if want, isError := strings.CutPrefix(tt.want, "!"); isError {
				if s != nil || err == nil || !strings.HasPrefix(err.Error(), want) {
					t.Errorf("%v, error %v, want %s", s, err, want)
				}
				return
			}
			got := ""
			if s != nil {
				got = fmt.Sprintf("%v %v %v %v %v", s.Endpoint, s.Headers, s.Timeout, s.Resource, s.Passes)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Errorf("error %v (-want +got)\n%s", err, diff)
			}
		})
	}
}

func TestCaller(t *testing.T) {
	const env = "OTEL_TRACES_EXPORTER=otlp TRACEPARENT=" + parentOfTest + " TRACESTATE=a=b BAGGAGE=user=x"
	tests := []struct{ name, env, want string }{
		{"all", env, parentOfTest + " a=b user=x"},
		{"malformed", env + " TRACEPARENT=00-1-2-3", "  user=x"},
		{"no trace", env + " OTEL_PROPAGATORS=baggage", "  user=x"},
		{"no baggage", env + " OTEL_PROPAGATORS=tracecontext", parentOfTest + " a=b "},
		{"baggage too long", env + " BAGGAGE=" + strings.Repeat("x", 8193), parentOfTest + " a=b "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := ReadSettings(getter(tt.env), "seam")
			if err != nil {
				t.Fatal(err)
			}
			c, place := s.Caller(), ""
			if c.Valid() {
				place = c.String()
			}
			if diff := cmp.Diff(tt.want, place+" "+c.State+" "+c.Baggage); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestDescribe(t *testing.T) {
	s, err := ReadSettings(getter("OTEL_TRACES_EXPORTER=otlp OTEL_RESOURCE_ATTRIBUTES=host.name=told"), "seam")
	if err != nil {
		t.Fatal(err)
	}
	s.Describe("host.name", "found")
	s.Describe("service.version", "v1")
	s.Describe("empty", "")
	want := []Attribute{{"service.name", "seam"}, {"host.name", "told"}, {"service.version", "v1"}}
	if diff := cmp.Diff(want, s.Resource); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestSamplers(t *testing.T) {
	sampled, _ := Parse(parentOfTest, "")
	other := sampled
	other.Flags = 0
	tests := []struct {
		sampler, arg string
		parent       Context
		low, high    bool // of a trace with a low number, and a high one
	}{
		{"", "", Context{}, true, true},
		{"", "", other, false, false},
		{"parentbased_always_on", "", sampled, true, true},
		{"parentbased_always_off", "", Context{}, false, false},
		{"parentbased_always_off", "", sampled, true, true},
		{"always_on", "", other, true, true},
		{"always_off", "", sampled, false, false},
		{"traceidratio", "", Context{}, true, true},
		{"traceidratio", "0", Context{}, false, false},
		{"traceidratio", "0.25", sampled, true, false},
		{"traceidratio", "1", other, true, true},
		{"parentbased_traceidratio", "0.25", Context{}, true, false},
		{"parentbased_traceidratio", "0.25", sampled, true, true},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s %s %s", tt.sampler, tt.arg, tt.parent), func(t *testing.T) {
			sampler, err := env(getter("OTEL_TRACES_SAMPLER=" + tt.sampler + " OTEL_TRACES_SAMPLER_ARG=" + tt.arg)).sampler()
			if err != nil {
				t.Fatal(err)
			}
			low, high := [16]byte{15: 1}, [16]byte{8: 0xff, 15: 1}
			if got := [2]bool{sampler(tt.parent, low), sampler(tt.parent, high)}; got != [2]bool{tt.low, tt.high} {
				t.Errorf("%v, want %v %v", got, tt.low, tt.high)
			}
		})
	}
}

func BenchmarkNothingAskedFor(b *testing.B) {
	get := getter("")
	for b.Loop() {
		if s, err := ReadSettings(get, "seam"); s != nil || err != nil {
			b.Fatal(s, err)
		}
	}
}
