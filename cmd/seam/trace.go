package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/seamnet/seam"
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
