package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/seamnet/seam/conformance"
)

func TestWriteReport(t *testing.T) {
	write := func(w io.Writer) error {
		_, err := io.WriteString(w, "report")
		return err
	}
	dir := t.TempDir()
	file, pipe := filepath.Join(dir, "file"), filepath.Join(dir, "pipe")
	if err := writeReport(file, write); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	if err := writeReport(file, func(io.Writer) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "report" {
		t.Errorf("the file of before is %q, %v", text, err)
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	read := make(chan string)
	go func() {
		text, _ := os.ReadFile(pipe)
		read <- string(text)
	}()
	if err := writeReport(pipe, write); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Lstat(pipe); err != nil || st.Mode().Type() != fs.ModeNamedPipe {
		t.Fatalf("what is no file was replaced: %v, %v", st, err)
	}
	if text := <-read; text != "report" {
		t.Errorf("into a pipe was written %q", text)
	}
}

// What was found is printed though it cannot be written elsewhere, or is not all.
func TestReportIsPrinted(t *testing.T) {
	called, callOff := context.WithCancel(t.Context())
	callOff()
	tests := []struct {
		name  string
		ctx   context.Context
		flags conformFlags
		exit  exitCode
	}{
		{"all", t.Context(), conformFlags{}, exitDone},
		{"no folder", t.Context(), conformFlags{html: "/nowhere/report.html"}, exitFailed},
		{"called off", called, conformFlags{}, exitInterrupted},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			c := &cli{out: &out}
			r := &conformance.Report{Target: "bridge", Findings: []conformance.Finding{{ID: "protocol/add", Outcome: conformance.Passed}}}
			err := c.report(tt.ctx, r, tt.flags)
			if (err != nil) != (tt.exit != exitDone) || err != nil && exitOf(err) != tt.exit {
				t.Errorf("error %v, want exit code %d", err, tt.exit)
			}
			if !strings.Contains(out.String(), "bridge: conforms") {
				t.Errorf("it printed %q", out.String())
			}
		})
	}
}

func TestTargetThatIsNone(t *testing.T) {
	c := &cli{self: "/proc/self/exe"}
	for arg, want := range map[string]string{
		t.TempDir(): "is no program", filepath.Join(t.TempDir(), "x"): "no such file",
	} {
		if _, err := c.conformTarget(arg, conformFlags{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want that it %s", arg, err, want)
		}
	}
}
