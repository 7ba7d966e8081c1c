package span

import (
	"context"
	"time"
)

// A Span is one step of a trace, ended.
type Span struct {
	Name       string
	Kind       Kind
	At         Context // its own place
	Parent     Context // not Valid: it is the trace's first
	Start, End time.Time
	Attributes []Attribute
	Err        string // empty: it succeeded
}

// A Kind is a span's relation to others. The values are OTLP's.
type Kind int

const (
	Internal Kind = 1 // within the process
	Server   Kind = 2 // what a caller in another process waits for
	Client   Kind = 3 // waits for another process
)

// An Attribute is something told of a span or of the program. Its value is a string, a
// bool or an int.
type Attribute struct {
	Key   string
	Value any
}

// Active is a span that has not ended. It is for one goroutine. The methods of a nil
// one, which Start returns where nothing is recorded, do nothing.
type Active struct {
	recorder *Recorder
	span     Span
}

// Start begins a span below ctx's place in a trace, and returns ctx at the span's place. If
// ctx is at the place of another process, the span's kind is Server unless it is Client.
// Without a Recorder in ctx it returns ctx and nil.
func Start(ctx context.Context, name string, kind Kind) (context.Context, *Active) {
	c := of(ctx)
	if c.recorder == nil {
		return ctx, nil
	}
	if kind == Internal && c.at.Valid() && c.at.Remote {
		kind = Server
	}
	s := Span{Name: name, Kind: kind, At: c.recorder.below(c.at), Parent: c.at, Start: c.recorder.now()}
	return Continue(ctx, s.At), &Active{c.recorder, s}
}

// Set tells something of the span. Empty strings are nothing to tell.
func (a *Active) Set(key string, value any) {
	if a != nil && value != "" {
		a.span.Attributes = append(a.span.Attributes, Attribute{key, value})
	}
}

// End ends the span; err is what it failed by, or nil. Nothing is kept of a span that the
// Sampler did not want.
func (a *Active) End(err error) {
	if a == nil || !a.span.At.Sampled() {
		return
	}
	a.span.End = a.recorder.now()
	if err != nil {
		a.span.Err = err.Error()
	}
	a.recorder.keep(a.span)
}
