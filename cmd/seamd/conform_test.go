package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/conformance"
	"github.com/seamnet/seam/conformance/drivers"
)

// TestConforms: the driver passes the whole suite, but for what it does not announce. It runs
// as "seam conform" runs it.
func TestConforms(t *testing.T) {
	wantConforming(t, drivers.Target{Command: append([]string{executable(t)}, driverArgs()...)}, "", map[string]conformance.Outcome{
		"protocol/gateway-allocation": conformance.Skipped,
	})
}

// prodChain is a network of the host's.
const prodChain = `{"cniVersion": "1.0.0", "name": "prod", "plugins": [
	{"type": "bridge", "bridge": "prod0", "isDefaultGateway": true, "ipMasq": true,
	 "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.22.0.0/24"}]]}},
	{"type": "portmap", "capabilities": {"portMappings": true}}]}`

// TestConformsOnChain: so it does on a network of the host's, which has one subnet.
func TestConformsOnChain(t *testing.T) {
	script := "mkdir -p /etc/cni/net.d && echo '" + prodChain + "' > /etc/cni/net.d/10-prod.conflist && exec \"$0\" \"$@\""
	wantConforming(t, drivers.Target{
		Command:        append([]string{"sh", "-c", script, executable(t)}, driverArgs()...),
		NetworkOptions: map[string]string{"seam.network": "prod"}, IPAMOptions: map[string]string{"seam.network": "prod"},
	}, "protocol/(order.*|concurrent|ipam-restart|pools-.*|exhausted)|kernel/sandbox.*|network/(endpoints|ports)|leaks/(endpoint|killed)",
		map[string]conformance.Outcome{"protocol/pools-others": conformance.Lacking})
}

func driverArgs() []string {
	return []string{"docker", "--name", "trial", "--socket", "{socket}", "--state-dir", "{dir}/state", "--engine", ""}
}

func executable(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

// wantConforming fails the test unless all checks pass but those that are told.
func wantConforming(t *testing.T, d drivers.Target, match string, want map[string]conformance.Outcome) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	t.Setenv(asProgram, "yes")
	t.Setenv("CNI_PATH", "/nowhere")
	report := conform(t, conformance.Errand{
		Target: target(t, d), Match: match, Repeat: "again",
		Levels: []conformance.Level{conformance.Protocol, conformance.Kernel, conformance.Network, conformance.Leaks},
	})
	got := map[string]conformance.Outcome{}
	for _, f := range report.Findings {
		if f.Outcome != conformance.Passed {
			got[f.ID] = f.Outcome
			t.Logf("%s: %q", f.ID, f.Notes)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	if f := report.Findings[0]; f.Repeat != "again --check "+f.ID {
		t.Errorf("repeat: %q", f.Repeat)
	}
}

func TestConformUsage(t *testing.T) {
	for _, tt := range []struct{ name, errand, want string }{
		{"no errand", "", "seamd conform: errand: EOF\n  next: seam conform --help\n"},
		{"no target", `{"Target":{}}`, "seamd conform: driver: neither its socket nor the command that starts it is named\n  next: seam conform --help\n"},
		{"another suite's", `{"Target":{"Config":{}}}`, "seamd conform: target: json: unknown field \"Config\"\n  next: seam conform --help\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var said bytes.Buffer
			cmd := exec.Command("/proc/self/exe", "conform")
			cmd.Env = append(os.Environ(), asProgram+"=yes")
			cmd.Stdin, cmd.Stderr = strings.NewReader(tt.errand), &said
			if err := cmd.Run(); cmd.ProcessState.ExitCode() != int(exitUsage) {
				t.Errorf("%v, want exit code %d", err, exitUsage)
			}
			if diff := cmp.Diff(tt.want, said.String()); diff != "" {
				t.Errorf("stderr (-want +got):\n%s", diff)
			}
		})
	}
}

func target(t *testing.T, d drivers.Target) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// conform runs the program, and returns the report that it ends with.
func conform(t *testing.T, e conformance.Errand) *conformance.Report {
	t.Helper()
	input, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", "conform")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(input), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var event conformance.Event
		if err := d.Decode(&event); err != nil {
			t.Fatalf("no report: %v", err)
		}
		if event.Report != nil {
			return event.Report
		}
	}
}
