package conformance

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A T is one check while it is carried out: how it tells what it finds. Its methods are
// those of testing.T, and may be called from several goroutines but for Fatalf and Skipf,
// which end the calling goroutine, the check's own.
type T struct {
	ctx      context.Context
	finding  *Finding
	lock     chan struct{} // holds one while the finding is written
	cleanups []func()
}

// Context ends with the time that the check has.
func (t *T) Context() context.Context { return t.ctx }

func (t *T) note(text string) {
	t.lock <- struct{}{}
	defer func() { <-t.lock }()
	t.finding.Notes = append(t.finding.Notes, strings.TrimRight(text, "\n"))
}

// Logf adds a note to the report.
func (t *T) Logf(format string, args ...any) { t.note(fmt.Sprintf(format, args...)) }

// Errorf says how the requirement is not met, and goes on.
func (t *T) Errorf(format string, args ...any) {
	t.note(fmt.Sprintf(format, args...))
	t.lock <- struct{}{}
	t.finding.Outcome = t.finding.unmet()
	<-t.lock
}

// Fatalf is Errorf, and ends the check.
func (t *T) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	runtime.Goexit()
}

// Failed reports whether there was an Errorf.
func (t *T) Failed() bool {
	t.lock <- struct{}{}
	defer func() { <-t.lock }()
	return t.finding.Outcome == t.finding.unmet()
}

// Skipf ends the check, which says nothing about the target, and tells why.
func (t *T) Skipf(format string, args ...any) {
	t.note(fmt.Sprintf(format, args...))
	if !t.Failed() {
		t.finding.Outcome = Skipped
	}
	runtime.Goexit()
}

// Brokenf ends the check because the suite itself, or this machine, cannot carry it out:
// nobody's fault but ours.
func (t *T) Brokenf(format string, args ...any) {
	t.note(fmt.Sprintf(format, args...))
	t.finding.Outcome = Broken
	runtime.Goexit()
}

// Must is Brokenf if there is an error.
func (t *T) Must(err error) {
	if err != nil {
		t.Brokenf("%v", err)
	}
}

// Cleanup has f called at the end, the last first.
func (t *T) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

// Time adds a measured time to a series of the report. The last may be called "ADD, 16
// at a time", say: those of one name are one distribution.
func (t *T) Time(series string, d time.Duration) {
	t.lock <- struct{}{}
	defer func() { <-t.lock }()
	i := slices.IndexFunc(t.finding.Times, func(s Series) bool { return s.Name == series })
	if i < 0 {
		i = len(t.finding.Times)
		t.finding.Times = append(t.finding.Times, Series{Name: series})
	}
	t.finding.Times[i].Millis = append(t.finding.Times[i].Millis, float64(d.Microseconds())/1000)
}

// carryOut runs the check to its end, in a goroutine so that Goexit ends only that.
func carryOut(ctx context.Context, c Check) Finding {
	f := Finding{ID: c.ID, Force: c.Force, Says: c.Says, Source: c.Source, Outcome: Passed}
	t := &T{ctx: ctx, finding: &f, lock: make(chan struct{}, 1)}
	start := time.Now()
	guarded := func(what func()) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() {
				if v := recover(); v != nil {
					buf := make([]byte, 4<<10)
					t.note(fmt.Sprintf("panic in the suite: %v\n%s", v, buf[:runtime.Stack(buf, false)]))
					f.Outcome = Broken
				}
			}()
			what()
		}()
		<-done
	}
	guarded(func() { c.Run(t) })
	for _, clean := range slices.Backward(t.cleanups) {
		guarded(clean)
	}
	if ctx.Err() != nil { // what was called was ended by the suite
		t.note("was broken off")
		f.Outcome = Broken
	}
	f.Seconds = time.Since(start).Seconds()
	return f
}
