package span

import (
	"context"
	"encoding/hex"
	"strings"
)

// A Context is a place in a trace: a span, of this process or of another. The zero
// Context is in no trace.
type Context struct {
	Trace [16]byte
	Span  [8]byte
	Flags byte   // of W3C Trace Context: Sampled, Random
	State string // tracestate, passed on as it came

	// Baggage is what the trace's first caller gave along for all, passed on as it came.
	// It may be there without a trace.
	Baggage string

	Remote bool // of another process
}

// Flags of a Context (W3C Trace Context Level 2, "Trace Flags").
const (
	Sampled byte = 1 << iota // the caller may have recorded it, and wants it recorded
	Random                   // the trace's number was drawn by chance
)

// Valid reports whether the Context is in a trace.
func (c Context) Valid() bool { return c.Trace != [16]byte{} && c.Span != [8]byte{} }

// Sampled reports whether spans of the trace are recorded.
func (c Context) Sampled() bool { return c.Flags&Sampled != 0 }

// String writes the Context as a traceparent of version 00.
func (c Context) String() string {
	b := make([]byte, 0, parentLength)
	b = append(b, "00-"...)
	b = append(hex.AppendEncode(b, c.Trace[:]), '-')
	b = append(hex.AppendEncode(b, c.Span[:]), '-')
	return string(hex.AppendEncode(b, []byte{c.Flags}))
}

// parentLength is that of a traceparent of version 00; later ones may add to it.
const parentLength = len("00-0123456789abcdef0123456789abcdef-0123456789abcdef-01")

// Parse reads the headers or variables of a caller (W3C Trace Context Level 2, section
// 3). A traceparent that is malformed counts as missing, and a tracestate goes with it; a
// tracestate that is malformed is dropped alone.
func Parse(traceparent, tracestate string) (c Context, ok bool) {
	p := strings.Trim(traceparent, " \t")
	if len(p) < parentLength || p[2] != '-' || p[35] != '-' || p[52] != '-' {
		return Context{}, false
	}
	var version, flags [1]byte
	rest := p[parentLength:]
	if !unhex(version[:], p[:2]) || version[0] == 0xff || rest != "" && (version[0] == 0 || rest[0] != '-') {
		return Context{}, false
	}
	if !unhex(c.Trace[:], p[3:35]) || !unhex(c.Span[:], p[36:52]) || !unhex(flags[:], p[53:55]) || !c.Valid() {
		return Context{}, false
	}
	c.Flags, c.Remote = flags[0]&(Sampled|Random), true
	if goodState(tracestate) {
		c.State = tracestate
	}
	return c, true
}

// unhex decodes lower-case digits, the only ones that the recommendation allows.
func unhex(into []byte, digits string) bool {
	if strings.ToLower(digits) != digits {
		return false
	}
	_, err := hex.Decode(into, []byte(digits))
	return err == nil
}

// goodState reports whether a tracestate is one that must be passed on: up to 32 pairs,
// and the 512 bytes that have to be.
func goodState(s string) bool {
	if len(s) > 512 || !printable(s) || strings.Count(s, ",") >= 32 {
		return false
	}
	for member := range strings.SplitSeq(s, ",") {
		if member = strings.Trim(member, " \t"); member != "" && strings.IndexByte(member, '=') < 1 {
			return false
		}
	}
	return true
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// carried is what a context.Context holds: the Recorder, and the place in a trace.
type carried struct {
	recorder *Recorder // nil: nothing is recorded
	at       Context
}

type carriedKey struct{}

func of(ctx context.Context) carried {
	c, _ := ctx.Value(carriedKey{}).(carried)
	return c
}

// Of returns the place in a trace at which ctx is.
func Of(ctx context.Context) Context { return of(ctx).at }

// Continue returns ctx at that place in a trace: what is started with it is below.
func Continue(ctx context.Context, at Context) context.Context {
	return context.WithValue(ctx, carriedKey{}, carried{of(ctx).recorder, at})
}

// Names of the variables by which the place in a trace reaches an executed program.
const (
	parentVariable  = "TRACEPARENT"
	stateVariable   = "TRACESTATE"
	baggageVariable = "BAGGAGE"
)

// Environ returns the environment for a program that is executed at ctx's place in a
// trace. Without such a place it is env as it is, so that a program between two others
// that know of traces does not part them.
func Environ(ctx context.Context, env []string) []string {
	c := of(ctx)
	if c.recorder != nil && !c.recorder.Passes.Trace {
		c.at = Context{Baggage: c.at.Baggage}
	}
	if c.at.Baggage != "" {
		env = set(env, baggageVariable, c.at.Baggage)
	}
	if c.at.Valid() {
		env = set(set(env, stateVariable, c.at.State), parentVariable, c.at.String())
	}
	return env
}

// set returns a copy of env with the variable once, or not at all if it is empty.
func set(env []string, name, value string) []string {
	with := make([]string, 0, len(env)+1)
	for _, kv := range env {
		if key, _, _ := strings.Cut(kv, "="); key != name {
			with = append(with, kv)
		}
	}
	if value != "" {
		with = append(with, name+"="+value)
	}
	return with
}
