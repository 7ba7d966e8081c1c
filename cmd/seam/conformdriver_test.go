package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/conformance"
	"github.com/seamnet/seam/conformance/drivers"
)

// What is typed is read by the suite, which another program has, and typed again by who
// repeats a check.
func TestDriverTarget(t *testing.T) {
	tests := []struct {
		name   string
		flags  driverFlags
		dash   int
		args   []string
		repeat string
		err    string
	}{
		{name: "a socket", dash: -1, args: []string{"/run/x.sock"}, repeat: "seam conform /run/x.sock"},
		{name: "a command", dash: 0, args: []string{"x", "{socket}"}, repeat: "seam conform --driver"},
		{name: "both and all flags", dash: 1, args: []string{"{dir}/x.sock", "x"},
			flags:  driverFlags{ipamSocket: "{dir}/y.sock", options: []string{"a=b c"}, opt: []string{"d="}, subnet: "10.0.0.0/8", otherIPAM: true},
			repeat: "seam conform --driver --ipam-socket '{dir}/y.sock' --subnet 10.0.0.0/8 --opt 'a=b c' --ipam-opt d= --other-ipam '{dir}/x.sock'"},
		{name: "nothing", dash: -1, err: "one driver is wanted, with the command that starts it behind --, or both"},
		{name: "two", dash: -1, args: []string{"a", "b"}, err: "one driver is wanted, with the command that starts it behind --, or both"},
		{name: "no pair", dash: -1, args: []string{"/x"}, flags: driverFlags{options: []string{"a"}}, err: `option "a": want KEY=VALUE`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			raw, title, err := tt.flags.target(tt.dash, tt.args)
			if tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Errorf("error %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil || title == "" {
				t.Fatalf("title %q, error %v", title, err)
			}
			if _, err := drivers.Reopen(raw); err != nil {
				t.Errorf("%s: %v", raw, err)
			}
			if got := tt.flags.repeat(tt.dash, tt.args); got != tt.repeat {
				t.Errorf("repeat %q, want %q", got, tt.repeat)
			}
		})
	}
}

// seamdScript is a seamd that knows its version, and says what a test wants it to.
const seamdScript = `#!/bin/sh
test "$1" != version || exec echo "seamd  devel"
cat > /dev/null
`

func TestErrand(t *testing.T) {
	tests := []struct {
		name   string
		script string
		events []string
		err    string
		exit   exitCode
	}{
		{"a report", `echo '{"Finding":{"id":"a/b"},"Done":0,"All":1}'; echo '{"Report":{"suite":"drivers"}}'`, []string{"a/b"}, "", exitDone},
		{"usage", `echo 'seamd conform: no' >&2; exit 2`, nil, "no", exitUsage},
		{"dies", `echo oh >&2; exit 1`, nil, "PROGRAM conform: exit status 1: oh", exitFailed},
		{"says nothing", ``, nil, "PROGRAM conform: ended without a report", exitFailed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range map[string]string{"seam": "", "seamd": seamdScript + tt.script} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			c := &cli{self: filepath.Join(dir, "seam")}
			program, err := c.seamd(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var events []string
			report, err := errand(t.Context(), program, conformance.Errand{}, func(f conformance.Finding, _, _ int) { events = append(events, f.ID) })
			if diff := cmp.Diff(tt.events, events); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
			if tt.err == "" {
				if err != nil || report.Suite != "drivers" {
					t.Errorf("report %v, error %v", report, err)
				}
				return
			}
			want := strings.ReplaceAll(tt.err, "PROGRAM", program)
			if err == nil || err.Error() != want || exitOf(err) != tt.exit {
				t.Errorf("error %q with exit code %d, want %q with %d", err, exitOf(err), want, tt.exit)
			}
		})
	}
}

func TestSeamdBeside(t *testing.T) {
	dir := t.TempDir()
	c := &cli{self: filepath.Join(dir, "seam")}
	if err := os.WriteFile(c.self, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := c.seamd(t.Context()); err == nil {
		t.Error("there is none, but no error")
	}
	if err := os.WriteFile(filepath.Join(dir, "seamd"), []byte("#!/bin/sh\necho seamd v0.0.1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := c.seamd(t.Context()); err == nil {
		t.Error("it is of another version, but no error")
	}
}
