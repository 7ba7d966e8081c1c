package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestQuickDocker runs all that a full run does with Debian's engine, once.
func TestQuickDocker(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes namespaces")
	}
	plan := quickDockerPlan()
	plan.Progress = t.Output()
	var err error
	if plan.Engines, err = dockerEngines("20.10"); err != nil {
		t.Skip(err)
	}
	f, err := benchDocker(t.Context(), plan)
	if err != nil && strings.Contains(err.Error(), noContainers) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range f.dockerRows() {
		for _, network := range compared {
			c := row.cell
			c.Engine, c.Network = "20.10", network
			if median(f.of(c)).Wall <= 0 {
				t.Errorf("%+v: not measured", c)
			}
		}
	}
	for _, crowd := range []bool{false, true} {
		var got []string
		for _, c := range f.callsOf("20.10", crowd) {
			got = append(got, c.Method)
		}
		if diff := cmp.Diff(methodOrder, got); diff != "" {
			t.Errorf("calls told of, crowd %t (-want +got)\n%s", crowd, diff)
		}
	}
	testDockerPage(t, f)
}

func testDockerPage(t *testing.T, f *DockerFigures) {
	dir := t.TempDir()
	if err := writeDocker(dir, f); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "benchmarks-docker.md"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Count(string(page), "**met**")+strings.Count(string(page), "**missed"), len(f.aims()); got != want {
		t.Errorf("aims judged = %d, want %d:\n%s", got, want, page)
	}
}

func TestParseCalls(t *testing.T) {
	log := `{"time":"2026-01-01T00:00:00Z","level":"INFO","msg":"serving","driver":"seam"}
{"time":"2026-01-01T00:00:00Z","level":"DEBUG","msg":"call","driver":"seam","method":"NetworkDriver.Join","took":2000000}
{"time":"2026-01-01T00:00:00Z","level":"DEBUG","msg":"call","driver":"seam","method":"NetworkDriver.Leave","took":1000}
{"time":"2026-01-01T00:00:00Z","level":"DEBUG","msg":"call","driver":"seam","method":"NetworkDriver.Join","took":3000000}
`
	got, err := parseCalls([]byte(log))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]time.Duration{"NetworkDriver.Join": {2 * time.Millisecond, 3 * time.Millisecond}, "NetworkDriver.Leave": {time.Microsecond}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for name, line := range map[string]string{
		"a call that failed": `{"msg":"call failed","method":"NetworkDriver.Join","err":"no address is left"}`,
		"no JSON":            "panic: runtime error",
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := parseCalls([]byte(log + line + "\n")); err == nil {
				t.Errorf("parseCalls = %v, want an error", got)
			}
		})
	}
}

// TestVersus: Seam's median against that of Docker's bridge, on the same engine.
func TestVersus(t *testing.T) {
	cell := func(engine, network string) DockerCell {
		return DockerCell{Engine: engine, Proxy: true, Network: network, Step: stepConnect}
	}
	f := &DockerFigures{Samples: []DockerSample{
		{cell("29", ownBridge), []time.Duration{30, 40, 50}},
		{cell("29", seamBridge), []time.Duration{5, 10}},
		{cell("29", seamBridge), []time.Duration{90}},
		{cell("28.5.2", seamBridge), []time.Duration{80}},
	}}
	if got := f.versus(cell("29", seamBridge)); got != 0.25 {
		t.Errorf("ratio = %v, want 0.25", got)
	}
	if got := f.versus(cell("28.5.2", seamBridge)); got != 0 {
		t.Errorf("ratio to what was not measured = %v, want 0", got)
	}
}
