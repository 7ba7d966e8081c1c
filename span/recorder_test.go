package span

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// counted is a recorder whose clock and numbers count.
func counted() *Recorder {
	var ticks int64
	var drawn uint64
	return &Recorder{
		Now:  func() time.Time { ticks++; return time.Unix(ticks, 0) },
		Rand: func() uint64 { drawn++; return drawn - 1 }, // the first is none, and not to be used
	}
}

// lines tells spans of a trace with one child after the other.
func lines(spans []Span) (all []string) {
	for _, s := range spans {
		parent := "-"
		if s.Parent.Valid() {
			parent = fmt.Sprintf("%x", s.Parent.Span[7:])
		}
		all = append(all, fmt.Sprintf("%s %d %x/%x<%s %v-%v %s", s.Name, s.Kind, s.At.Trace[7:8], s.At.Span[7:], parent, s.Start.Unix(), s.End.Unix(), s.Err))
	}
	return all
}

func TestStart(t *testing.T) {
	r := counted()
	ctx, outer := Start(r.In(t.Context(), Context{}), "outer", Internal)
	below, inner := Start(ctx, "inner", Client)
	if got := Of(below); got.Remote || got.Flags != Sampled|Random {
		t.Errorf("at %+v", got)
	}
	inner.End(errors.New("it broke"))
	_, second := Start(ctx, "second", Internal)
	second.End(nil)
	outer.End(nil)
	caller, _ := Parse(parentOfTest, "a=b")
	_, served := Start(Continue(ctx, caller), "served", Internal)
	served.End(nil)
	ended, lost := r.Take()
	want := []string{"inner 3 01/04<03 2-3 it broke", "second 1 01/05<03 4-5 ", "outer 1 01/03<- 1-6 ", "served 2 dd/06<31 7-8 "}
	if diff := cmp.Diff(want, lines(ended)); diff != "" || lost != 0 {
		t.Errorf("%d lost (-want +got)\n%s", lost, diff)
	}
	if ended[3].At.State != "a=b" {
		t.Errorf("state %q", ended[3].At.State)
	}
	if again, _ := r.Take(); again != nil {
		t.Errorf("taken twice: %v", lines(again))
	}
}

// Where nothing is recorded nothing costs: the context is the same.
func TestStartWithoutRecorder(t *testing.T) {
	caller, _ := Parse(parentOfTest, "")
	ctx := Continue(t.Context(), caller)
	inner, active := Start(ctx, "x", Internal)
	active.Set("key", "value")
	active.End(nil)
	if active != nil || inner != ctx || Recorded(ctx) {
		t.Error("something is recorded")
	}
}

// A caller that does not want the trace recorded gets nothing recorded, and neither do
// programs below, which are told so; they are at a place of their own all the same.
func TestNotSampled(t *testing.T) {
	r := &Recorder{}
	r.Sampler, _ = env(func(string) string { return "" }).sampler()
	caller, _ := Parse(parentOfTest[:53]+"00", "")
	ctx, active := Start(r.In(context.Background(), caller), "x", Internal)
	active.End(nil)
	if ended, _ := r.Take(); ended != nil {
		t.Errorf("recorded: %v", lines(ended))
	}
	if at := Of(ctx); at.Sampled() || at.Trace != caller.Trace || at.Span == caller.Span || !at.Valid() {
		t.Errorf("below %v is %v", caller, at)
	}
}

func TestTooMany(t *testing.T) {
	r := counted()
	for range longestQueue + 3 {
		_, active := Start(r.In(t.Context(), Context{}), "x", Internal)
		active.End(nil)
	}
	if ended, lost := r.Take(); len(ended) != longestQueue || lost != 3 {
		t.Errorf("%d kept, %d lost", len(ended), lost)
	}
}
