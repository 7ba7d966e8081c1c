package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"time"
)

// An Errand is what one program has another carry out that has the suite in it, where the
// first cannot have it: as JSON on stdin.
type Errand struct {
	Target   json.RawMessage // in the suite's form
	Title    string
	Repeat   string
	Levels   []Level
	Match    string // an expression for whole IDs; empty: all
	Timeout  time.Duration
	Parallel int
}

// An Event is what that program prints, a line of JSON each: a finding, as Options.Progress
// is told of it, or at the end the report.
type Event struct {
	Finding   *Finding `json:",omitempty"`
	Done, All int      `json:",omitempty"`
	Report    *Report  `json:",omitempty"`
}

// Do carries the errand out, with the suite that is made of its target.
func (o *Errand) Do(ctx context.Context, s Suite, out io.Writer) error {
	options := Options{Levels: o.Levels, Timeout: o.Timeout, Parallel: o.Parallel}
	if o.Match != "" {
		match, err := regexp.Compile("^(?:" + o.Match + ")$")
		if err != nil {
			return fmt.Errorf("check: %w", err)
		}
		options.Match = match
	}
	s.Title, s.Repeat = o.Title, o.Repeat
	events := json.NewEncoder(out)
	var broke error
	options.Progress = func(f Finding, done, all int) {
		if err := events.Encode(Event{Finding: &f, Done: done, All: all}); err != nil {
			broke = err // whoever reads is gone
		}
	}
	report, err := Run(ctx, s, options)
	if err != nil {
		return err
	}
	if broke != nil {
		return broke
	}
	return events.Encode(Event{Report: report})
}
