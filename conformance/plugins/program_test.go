package plugins_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seamnet/seam/conformance"
	"github.com/seamnet/seam/conformance/plugins"
)

// tryScript carries out one check with a plugin that is a script.
func tryScript(t *testing.T, script, check string, timeout time.Duration) conformance.Finding {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	file := filepath.Join(t.TempDir(), "odd")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	target := plugins.Target{
		Config:   []byte(`{"cniVersion":"1.1.0","name":"conformance","plugins":[{"type":"odd"}]}`),
		Programs: map[string]string{"odd": file},
	}
	suite, err := plugins.Suite(target, "odd", nil)
	if err != nil {
		t.Fatal(err)
	}
	report, err := conformance.Run(t.Context(), suite, conformance.Options{Match: regexp.MustCompile("^" + check + "$"), Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	return report.Findings[0]
}

// TestHungPlugin: what a plugin has started ends with a check that takes too long.
func TestHungPlugin(t *testing.T) {
	child := filepath.Join(t.TempDir(), "child")
	f := tryScript(t, "sleep 60 &\necho $! >"+child+"\nwait\n", "protocol/version", time.Second)
	if f.Outcome != conformance.Broken || !strings.Contains(strings.Join(f.Notes, "\n"), "took longer than 1s") {
		t.Errorf("%s: %q, want broken, as it took too long", f.Outcome, f.Notes)
	}
	text, err := os.ReadFile(child)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if state, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat"); err != nil || strings.Contains(string(state), ") Z ") {
			return
		}
		if time.Now().After(deadline) {
			if err := syscall.Kill(pid, syscall.SIGKILL); !errors.Is(err, syscall.ESRCH) {
				t.Fatalf("process %d, which the plugin started, still runs", pid)
			}
			return
		}
	}
}

// TestLoudPlugin: what a plugin prints is kept as far as it may be a result, and told as far
// as somebody reads it.
func TestLoudPlugin(t *testing.T) {
	f := tryScript(t, "head -c 20000000 /dev/zero | tr '\\0' x\nexit 1\n", "leaks/host", 0)
	if notes := strings.Join(f.Notes, "\n"); f.Outcome != conformance.Failed || len(notes) > 2000 {
		t.Errorf("%s with notes of %d bytes: %.200s", f.Outcome, len(notes), notes)
	}
}

// TestSmallRange: of a network with few addresses no crowd is asked.
func TestSmallRange(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	target := plugins.Target{Builtin: true, Config: []byte(`{"cniVersion":"1.1.0","name":"conformance","plugins":[
		{"type":"bridge","bridge":"conform0","isGateway":true,"ipam":{"type":"host-local","subnet":"10.77.0.0/28"}}]}`)}
	suite, err := plugins.Suite(target, "small", builtins)
	if err != nil {
		t.Fatal(err)
	}
	report, err := conformance.Run(t.Context(), suite, conformance.Options{Match: regexp.MustCompile("^(network/many-pods|leaks/(crowd|crowd-mixed|gc-pods-died))$")})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Findings {
		want := conformance.Skipped
		if f.ID == "leaks/gc-pods-died" { // there is room for a dozen and one
			want = conformance.Passed
		}
		if f.Outcome != want {
			t.Errorf("%s: %s, want %s: %q", f.ID, f.Outcome, want, f.Notes)
		}
	}
}
