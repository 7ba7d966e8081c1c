package span

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"time"
)

// A Recorder keeps the spans that ended until they are taken. Its methods may be called
// concurrently; its fields are not to be changed after the first call.
type Recorder struct {
	Sampler Sampler          // which traces are recorded; nil: all
	Passes  Passes           // what reaches executed programs
	Now     func() time.Time // nil: time.Now
	Rand    func() uint64    // of spans' numbers; nil: the runtime's random numbers

	mu    sync.Mutex
	ended []Span
	lost  int
}

// Passes says which propagators there are (OTEL_PROPAGATORS).
type Passes struct{ Trace, Baggage bool }

// longestQueue is how many spans wait to be taken, the standard's default
// (OTEL_BSP_MAX_QUEUE_SIZE). Further ones are lost, and counted.
const longestQueue = 2048

// A Sampler decides whether a span is recorded and whether programs that are executed
// below it are told to. The parent is not Valid for the first span of a trace.
type Sampler func(parent Context, trace [16]byte) bool

// In returns ctx with the recorder in it, for Start, and at the place of a caller, which
// may be the zero Context.
func (r *Recorder) In(ctx context.Context, caller Context) context.Context {
	return context.WithValue(ctx, carriedKey{}, carried{r, caller})
}

// Recorded reports whether there is a Recorder in ctx.
func Recorded(ctx context.Context) bool { return of(ctx).recorder != nil }

// Take returns the spans that ended since it was last called, in the order of their ends,
// and how many were lost because there were too many.
func (r *Recorder) Take() (ended []Span, lost int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ended, lost, r.ended, r.lost = r.ended, r.lost, nil, 0
	return ended, lost
}

func (r *Recorder) keep(s Span) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ended) >= longestQueue {
		r.lost++
		return
	}
	r.ended = append(r.ended, s)
}

// below returns the place of a new span.
func (r *Recorder) below(parent Context) Context {
	c := Context{Trace: parent.Trace, State: parent.State, Flags: parent.Flags &^ Sampled, Baggage: parent.Baggage}
	if !parent.Valid() {
		binary.BigEndian.PutUint64(c.Trace[:8], r.number())
		binary.BigEndian.PutUint64(c.Trace[8:], r.number())
		c.State, c.Flags = "", Random
	}
	binary.BigEndian.PutUint64(c.Span[:], r.number())
	if r.Sampler == nil || r.Sampler(parent, c.Trace) {
		c.Flags |= Sampled
	}
	return c
}

// number returns a random number that is not 0, which stands for none.
func (r *Recorder) number() uint64 {
	draw := r.Rand
	if draw == nil {
		draw = rand.Uint64
	}
	for {
		if n := draw(); n != 0 {
			return n
		}
	}
}

func (r *Recorder) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}
