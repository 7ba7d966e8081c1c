package span

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Settings are what the standard variables ask for (OpenTelemetry, "Environment Variable
// Specification" and "OpenTelemetry Protocol Exporter").
type Settings struct {
	Endpoint *url.URL      // where spans are posted
	Headers  []Header      // sent along
	Timeout  time.Duration // of sending; 0: not told
	Sampler  Sampler
	Passes   Passes
	Resource []Attribute // of the program: OTEL_RESOURCE_ATTRIBUTES, with service.name

	caller Context
}

// A Header is one of HTTP's.
type Header struct{ Name, Value string }

// ReadSettings returns nil where no spans are asked for, which is found out quickly: a
// plugin asks for every attachment. They are if OTEL_TRACES_EXPORTER is otlp or an
// endpoint is named, and OTEL_SDK_DISABLED does not say true. service is the program's
// name unless a variable gives another.
//
// A value that is none is an error, which names the variable: nothing is recorded then.
func ReadSettings(getenv func(string) string, service string) (*Settings, error) {
	e := env(getenv)
	exporter := e("OTEL_TRACES_EXPORTER")
	endpoint, base := e("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), e("OTEL_EXPORTER_OTLP_ENDPOINT")
	switch {
	case strings.EqualFold(e("OTEL_SDK_DISABLED"), "true"), exporter == "none", exporter+endpoint+base == "":
		return nil, nil
	case exporter != "" && exporter != "otlp":
		return nil, fmt.Errorf("OTEL_TRACES_EXPORTER %q: want otlp or none", exporter)
	}
	s := &Settings{}
	for _, read := range []func() error{
		func() error { return checkProtocol(e) },
		func() (err error) { s.Endpoint, err = parseEndpoint(endpoint, base); return err },
		func() (err error) { s.Headers, err = e.headers(); return err },
		func() (err error) { s.Timeout, err = e.timeout(); return err },
		func() (err error) { s.Sampler, err = e.sampler(); return err },
		func() (err error) { s.Passes, err = e.passes(); return err },
		func() (err error) { s.Resource, err = e.resource(service); return err },
	} {
		if err := read(); err != nil {
			return nil, err
		}
	}
	s.caller = s.Passes.read(e)
	return s, nil
}

// Recorder returns an empty recorder.
func (s *Settings) Recorder() *Recorder { return &Recorder{Sampler: s.Sampler, Passes: s.Passes} }

// Describe tells something of the program, unless the administrator does.
func (s *Settings) Describe(key, value string) {
	if value != "" && !slices.ContainsFunc(s.Resource, func(a Attribute) bool { return a.Key == key }) {
		s.Resource = append(s.Resource, Attribute{key, value})
	}
}

// Caller is the place in a trace at which this process was executed; the zero Context
// where there is none.
func (s *Settings) Caller() Context { return s.caller }

func (p Passes) read(e env) (c Context) {
	if p.Trace {
		c, _ = Parse(e(parentVariable), e(stateVariable))
	}
	if v := e(baggageVariable); p.Baggage && len(v) <= longestBaggage && printable(v) {
		c.Baggage = v
	}
	return c
}

// longestBaggage is how much all must pass on (W3C Baggage, "Limits"), in bytes.
const longestBaggage = 8192

type env func(string) string

// either returns the variable for traces alone, else that for all signals, and which it
// was.
func (e env) either(name string) (variable, value string) {
	variable = "OTEL_EXPORTER_OTLP_TRACES_" + name
	if value = e(variable); value != "" {
		return variable, value
	}
	variable = "OTEL_EXPORTER_OTLP_" + name
	return variable, e(variable)
}

// checkProtocol lets http/protobuf pass: who takes that takes http/json at the same place.
func checkProtocol(e env) error {
	switch variable, protocol := e.either("PROTOCOL"); protocol {
	case "", "http/json", "http/protobuf":
		return nil
	default:
		return fmt.Errorf("%s %q: only http/json is spoken, which collectors take on port 4318", variable, protocol)
	}
}

// parseEndpoint returns where traces go: endpoint as it is, else below base.
func parseEndpoint(endpoint, base string) (*url.URL, error) {
	variable, value := "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint
	if value == "" {
		variable, value = "OTEL_EXPORTER_OTLP_ENDPOINT", cmp.Or(base, "http://localhost:4318")
	}
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || !printable(value) {
		return nil, fmt.Errorf("%s %q: want http://HOST:PORT", variable, value)
	}
	if u.Path == "" {
		u.Path = "/"
	}
	if endpoint == "" {
		u = u.JoinPath("v1/traces")
	}
	return u, nil
}

func (e env) headers() ([]Header, error) {
	variable, value := e.either("HEADERS")
	pairs, err := pairs(value)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", variable, err)
	}
	var all []Header
	for _, p := range pairs {
		if !printable(p.key+p.value) || strings.ContainsAny(p.key, ": ") {
			return nil, fmt.Errorf("%s: %q is no header", variable, p.key)
		}
		all = append(all, Header{p.key, p.value})
	}
	return all, nil
}

func (e env) timeout() (time.Duration, error) {
	variable, value := e.either("TIMEOUT")
	if value == "" {
		return 0, nil
	}
	ms, err := strconv.ParseUint(value, 10, 31)
	if err != nil || ms == 0 {
		return 0, fmt.Errorf("%s %q: want milliseconds", variable, value)
	}
	return time.Duration(ms) * time.Millisecond, nil
}

func (e env) passes() (Passes, error) {
	value := e("OTEL_PROPAGATORS")
	if value == "" {
		return Passes{Trace: true, Baggage: true}, nil
	}
	var p Passes
	for name := range strings.SplitSeq(value, ",") {
		switch strings.TrimSpace(name) {
		case "tracecontext":
			p.Trace = true
		case "baggage":
			p.Baggage = true
		case "none", "":
		default:
			return p, fmt.Errorf("OTEL_PROPAGATORS %q: want tracecontext, baggage or none", name)
		}
	}
	return p, nil
}

// resource has OTEL_SERVICE_NAME before a service.name among the attributes.
func (e env) resource(service string) ([]Attribute, error) {
	pairs, err := pairs(e("OTEL_RESOURCE_ATTRIBUTES"))
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	all := make([]Attribute, 1, len(pairs)+1)
	for _, p := range pairs {
		if p.key == "service.name" {
			service = p.value
			continue
		}
		all = append(all, Attribute{p.key, p.value})
	}
	all[0] = Attribute{"service.name", cmp.Or(e("OTEL_SERVICE_NAME"), service)}
	return all, nil
}

type pair struct{ key, value string }

// pairs reads "K=V,K2=V2" with values in the encoding of URLs.
func pairs(list string) ([]pair, error) {
	var all []pair
	for item := range strings.SplitSeq(list, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		key, value, ok := strings.Cut(item, "=")
		key = strings.TrimSpace(key)
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if !ok || key == "" || err != nil {
			return nil, fmt.Errorf("not of the form KEY=VALUE,...; a comma or percent sign in a value is written %%2C, %%25")
		}
		all = append(all, pair{key, value})
	}
	return all, nil
}
