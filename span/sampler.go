package span

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// sampler reads OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG (OpenTelemetry, "SDK",
// "Built-in samplers").
func (e env) sampler() (Sampler, error) {
	name := e("OTEL_TRACES_SAMPLER")
	if name == "" {
		name = "parentbased_always_on"
	}
	root, ofParent := strings.CutPrefix(name, "parentbased_")
	first, err := e.rootSampler(root)
	if err != nil {
		return nil, err
	}
	if !ofParent {
		return first, nil
	}
	return func(parent Context, trace [16]byte) bool {
		if parent.Valid() {
			return parent.Sampled()
		}
		return first(parent, trace)
	}, nil
}

func (e env) rootSampler(name string) (Sampler, error) {
	switch name {
	case "always_on":
		return func(Context, [16]byte) bool { return true }, nil
	case "always_off":
		return func(Context, [16]byte) bool { return false }, nil
	case "traceidratio":
		return ratioSampler(e("OTEL_TRACES_SAMPLER_ARG"))
	}
	return nil, fmt.Errorf("OTEL_TRACES_SAMPLER %q: want always_on, always_off or traceidratio, or one of these with parentbased_ before it", e("OTEL_TRACES_SAMPLER"))
}

// ratioSampler takes that part of all traces, decided by their numbers as OpenTelemetry's
// Go library does, so that both agree.
func ratioSampler(value string) (Sampler, error) {
	ratio := 1.0
	if value != "" {
		var err error
		if ratio, err = strconv.ParseFloat(value, 64); err != nil || !(ratio >= 0 && ratio <= 1) {
			return nil, fmt.Errorf("OTEL_TRACES_SAMPLER_ARG %q: want a part of all, from 0 to 1", value)
		}
	}
	limit := uint64(ratio * (1 << 63))
	return func(_ Context, trace [16]byte) bool {
		return binary.BigEndian.Uint64(trace[8:])>>1 < limit
	}, nil
}
