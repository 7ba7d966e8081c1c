package main

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seamnet/seam"
)

// Steps are told when they end, delegates before those who called them.
func TestTrace(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	step := func(plugin string, depth int, at, took time.Duration) seam.Step {
		return seam.Step{Plugin: plugin, Verb: seam.Add, Depth: depth, Start: start.Add(at), Duration: took}
	}
	var tr trace
	tr.step(step("host-local", 1, 10, 300*time.Microsecond))
	tr.step(step("bridge", 0, 5, 2500*time.Microsecond))
	wrapped := step("inner", 2, 300, 12*time.Millisecond)
	wrapped.Executed = "/opt/cni/bin/inner"
	tr.step(wrapped)
	tr.step(step("middle", 1, 250, 150*time.Millisecond))
	failed := step("wrap", 0, 200, 3*time.Second)
	failed.Err = errors.New("no\nroom")
	tr.step(failed)
	undo := step("bridge", 0, 900, time.Millisecond)
	undo.Undo = true
	tr.step(undo)
	var b bytes.Buffer
	tr.print(&b)
	const want = `trace
├─ add    bridge          2.5 ms  in process
│  └─ add    host-local      300 µs  in process
├─ add    wrap             3.0 s  in process  ✗ no; room
│  └─ add    middle          150 ms  in process
│     └─ add    inner          12.0 ms  /opt/cni/bin/inner
└─ undo   bridge          1.0 ms  in process
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("trace (-want +got):\n%s", diff)
	}
}

func TestTable(t *testing.T) {
	tab := newTable("NAME", "ADDRESS", "X")
	tab.row("a", "10.0.0.1", "")
	tab.row("größer", "", "y")
	var b bytes.Buffer
	tab.print(&b)
	const want = `NAME    ADDRESS   X
a       10.0.0.1  -
größer  -         y
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 59 * time.Second: "59s", 3 * time.Minute: "3m", 47 * time.Hour: "47h", 50 * time.Hour: "2d",
	} {
		if got := age(d); got != want {
			t.Errorf("age(%s) = %q, want %q", d, got, want)
		}
	}
}
