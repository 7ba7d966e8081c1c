package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/span"
)

// A trace gathers the steps of what a runtime does.
type trace struct {
	steps []seam.Step
}

// step is a seam.Runtime's Trace.
func (t *trace) step(s seam.Step) { t.steps = append(t.steps, s) }

func (t *trace) print(w io.Writer) {
	if len(t.steps) == 0 {
		return
	}
	root := &tree{text: "trace"}
	root.below = stepTrees(t.steps)
	root.print(w)
}

// stepTrees returns the steps as trees, by the order of their starts: a step was
// called by the last one before it that is less deep.
func stepTrees(steps []seam.Step) []*tree {
	steps = slices.Clone(steps)
	slices.SortStableFunc(steps, func(a, b seam.Step) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.Depth, b.Depth))
	})
	root := &tree{}
	line := []*tree{root} // the root, the last step of depth 0 below it, and so on
	for _, s := range steps {
		depth := min(s.Depth, len(line)-1)
		line = append(line[:depth+1], line[depth].add("%s", stepText(s)))
	}
	return root.below
}

func stepText(s seam.Step) string {
	where := "in process"
	if s.Executed != "" {
		where = s.Executed
	}
	verb := strings.ToLower(string(s.Verb))
	if s.Undo {
		verb = "undo"
	}
	text := fmt.Sprintf("%-6s %-12s %9s  %s", verb, s.Plugin, duration(s.Duration), where)
	if s.Err != nil {
		text += "  ✗ " + strings.ReplaceAll(s.Err.Error(), "\n", "; ")
	}
	return text
}

// duration writes a time that a call took with three digits at most.
func duration(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// age writes how long ago something was, in its largest unit.
func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(max(d, 0).Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// withSpans returns ctx with a recorder of spans, if the environment asks for them. send
// is to be called at the process's end, when its result is written: the caller may wait for
// the process all the same, so it takes patience at most. What goes wrong with spans is
// told on stderr, and is no error of what they are about.
func withSpans(ctx context.Context, getenv func(string) string, stderr io.Writer) (inner context.Context, send func()) {
	settings, err := span.ReadSettings(getenv, "seam")
	if err == nil && settings != nil && settings.Endpoint.Scheme != "http" {
		err = span.ErrTLS
	}
	if err != nil {
		fmt.Fprintf(stderr, "seam: no spans are recorded: %v\n", err)
	}
	if err != nil || settings == nil {
		return ctx, func() {}
	}
	recorder := settings.Recorder()
	return recorder.In(ctx, settings.Caller()), func() { sendSpans(settings, recorder, stderr) }
}

// patience is how long spans are sent unless the environment tells another time: a
// collector that is away holds up each executed plugin of a chain.
const patience = time.Second

func sendSpans(settings *span.Settings, recorder *span.Recorder, stderr io.Writer) {
	spans, lost := recorder.Take()
	if len(spans) == 0 {
		return
	}
	if lost > 0 {
		fmt.Fprintf(stderr, "seam: %d spans are lost: there were too many\n", lost)
	}
	host, _ := os.Hostname() // a host without a name is described without it
	settings.Describe("service.version", version)
	settings.Describe("host.name", host)
	ctx, cancel := context.WithTimeout(context.Background(), cmp.Or(settings.Timeout, patience))
	defer cancel()
	if err := settings.Post(ctx, span.Encode(settings.Resource, version, spans)); err != nil {
		fmt.Fprintf(stderr, "seam: %d spans are not sent: %v\n", len(spans), err)
	}
}
