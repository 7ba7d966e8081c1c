package conformance_test

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/conformance"
)

func TestMain(m *testing.M) {
	conformance.Serve(conformance.Suites{
		"odd":  func(json.RawMessage) (conformance.Suite, error) { return odd(), nil },
		"echo": echo,
	})
	os.Exit(m.Run())
}

// odd is a suite with a check for each way in which checks end.
func odd() conformance.Suite {
	s := conformance.Suite{Name: "odd", Title: "odd <one>", Repeat: "again"}
	add := func(id string, force conformance.Force, run func(*conformance.T)) {
		s.Checks = append(s.Checks, conformance.Check{ID: id, Force: force, Says: "It is & stays.", Source: "CNI 1.1.0", Run: run})
	}
	wrong := func(t *conformance.T) { t.Errorf("is \x1b[31m<odd>") }
	add("protocol/fine", conformance.Must, func(t *conformance.T) {})
	add("protocol/must", conformance.Must, wrong)
	add("protocol/should", conformance.Should, wrong)
	add("kernel/open", conformance.Open, wrong)
	add("kernel/skipped", conformance.Must, func(t *conformance.T) { t.Skipf("does not fit") })
	add("kernel/failed-then-skipped", conformance.Must, func(t *conformance.T) { t.Errorf("odd"); t.Skipf("the rest does not fit") })
	add("kernel/fatal", conformance.Must, func(t *conformance.T) {
		t.Cleanup(func() { t.Logf("cleaned") })
		t.Fatalf("odd")
	})
	add("network/broken", conformance.Must, func(t *conformance.T) { t.Brokenf("no machine") })
	add("network/panics", conformance.Must, func(*conformance.T) { panic("odd") })
	add("network/dies", conformance.Must, func(*conformance.T) { os.Stderr.WriteString("farewell"); os.Exit(7) })
	add("network/interrupted", conformance.Must, func(t *conformance.T) {
		t.Must(syscall.Kill(os.Getpid(), syscall.SIGINT))
		<-t.Context().Done()
		t.Errorf("odd")
	})
	add("network/hangs", conformance.Must, func(*conformance.T) { select {} })
	add("leaks/own-host", conformance.Must, func(t *conformance.T) {
		links, err := net.Interfaces()
		t.Must(err)
		if len(links) != 1 || links[0].Flags&net.FlagUp == 0 {
			t.Errorf("links: %v, want lo, up", links)
		}
		if left, err := os.ReadDir("/run"); err != nil || len(left) > 0 {
			t.Errorf("/run: %v, %v", left, err)
		}
		t.Must(os.WriteFile("/run/left", nil, 0o600))
	})
	add("speed/times", conformance.Open, func(t *conformance.T) {
		for i := range 100 {
			t.Time("ADD", time.Duration(i+1)*time.Millisecond)
		}
	})
	return s
}

func run(t *testing.T, s conformance.Suite, o conformance.Options) *conformance.Report {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	r, err := conformance.Run(t.Context(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestOutcomes(t *testing.T) {
	began := 0
	r := run(t, odd(), conformance.Options{Timeout: 2 * time.Second, Progress: func(f conformance.Finding, done, all int) {
		if f.Outcome == "" {
			began++
		}
		if all != len(odd().Checks) || done > all {
			t.Errorf("%s: %d of %d", f.ID, done, all)
		}
	}})
	if began != len(odd().Checks) {
		t.Errorf("%d checks began", began)
	}
	got := make(map[string]string)
	for _, f := range r.Findings {
		note, _, _ := strings.Cut(strings.Join(f.Notes, "|"), "\n")
		got[f.ID] = string(f.Outcome) + ": " + note
	}
	want := map[string]string{
		"protocol/fine":              "passed: ",
		"protocol/must":              "failed: is \x1b[31m<odd>",
		"protocol/should":            "lacking: is \x1b[31m<odd>",
		"kernel/open":                "differs: is \x1b[31m<odd>",
		"kernel/skipped":             "skipped: does not fit",
		"kernel/failed-then-skipped": "failed: odd|the rest does not fit",
		"kernel/fatal":               "failed: odd|cleaned",
		"network/broken":             "broken: no machine",
		"network/panics":             "broken: panic in the suite: odd",
		"network/dies":               "broken: exit status 7",
		"network/interrupted":        "broken: odd|was broken off",
		"network/hangs":              "broken: took longer than 2s",
		"leaks/own-host":             "passed: ",
		"speed/times":                "passed: ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if r.OK(false) || r.Count(conformance.Failed) != 3 {
		t.Errorf("the report counts %d failures and is fine: %v", r.Count(conformance.Failed), r.OK(false))
	}
	if _, err := os.Stat("/run/left"); err == nil {
		t.Error("what a check left is on this host")
	}
	if p50, p90, p99 := r.Findings[len(r.Findings)-1].Times[0].Quantiles(); p50 != 50 || p90 != 90 || p99 != 99 {
		t.Errorf("quantiles of 1 to 100: %v, %v, %v", p50, p90, p99)
	}
	written(t, r)
}

// written reads the files of a report again.
func written(t *testing.T, r *conformance.Report) {
	t.Helper()
	var junit, page strings.Builder
	if err := r.WriteJUnit(&junit, false); err != nil {
		t.Fatal(err)
	}
	var suites struct {
		Suites []struct {
			Name     string `xml:"name,attr"`
			Tests    int    `xml:"tests,attr"`
			Failures int    `xml:"failures,attr"`
			Errors   int    `xml:"errors,attr"`
			Skipped  int    `xml:"skipped,attr"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal([]byte(junit.String()), &suites); err != nil {
		t.Fatalf("JUnit: %v\n%s", err, &junit)
	}
	var got []string
	for _, s := range suites.Suites {
		got = append(got, fmt.Sprint(s.Name, " ", s.Tests, s.Failures, s.Errors, s.Skipped))
	}
	want := []string{"odd.protocol 3 1 0 0", "odd.kernel 4 2 0 1", "odd.network 5 0 5 0", "odd.leaks 1 0 0 0", "odd.speed 1 0 0 0"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("JUnit: tests, failures, errors, skipped (-want +got):\n%s", diff)
	}
	if err := r.WriteHTML(&page, false); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(page.String(), "<odd>") || strings.Contains(page.String(), "<one>") {
		t.Error("the page holds text that is not escaped")
	}
	if others := regexp.MustCompile(`(?:src|href)=|url\(|@import`).FindString(page.String()); others != "" {
		t.Errorf("the page does not stand alone: %s", others)
	}
	d := xml.NewDecoder(strings.NewReader(page.String()))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	for {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("the page: %v", err)
		}
	}
	for _, part := range []string{"p50 50 ms · p90 90 ms · p99 99 ms", "again --check protocol/must"} {
		if !strings.Contains(page.String(), part) {
			t.Errorf("the page lacks %q", part)
		}
	}
}

// echo is a suite whose check says what its target is.
func echo(raw json.RawMessage) (conformance.Suite, error) {
	return conformance.Suite{Name: "echo", Target: raw, Checks: []conformance.Check{
		{ID: "protocol/echo", Run: func(t *conformance.T) { t.Logf("%s", raw) }},
		{ID: "speed/echo", Run: func(t *conformance.T) { t.Logf("%s", raw) }},
	}}, nil
}

func TestChoice(t *testing.T) {
	s, err := echo(json.RawMessage(`{"a":1}`))
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, s, conformance.Options{Levels: []conformance.Level{conformance.Speed}})
	if len(r.Findings) != 1 || r.Findings[0].ID != "speed/echo" || r.Findings[0].Notes[0] != `{"a":1}` {
		t.Errorf("findings: %+v", r.Findings)
	}
	if r := run(t, s, conformance.Options{Match: regexp.MustCompile("^protocol/")}); len(r.Findings) != 1 || r.Findings[0].ID != "protocol/echo" {
		t.Errorf("findings: %+v", r.Findings)
	}
	if _, err := conformance.Run(t.Context(), s, conformance.Options{Match: regexp.MustCompile("nothing")}); err == nil {
		t.Error("a run of no checks is no error")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := conformance.Run(ended, s, conformance.Options{}); err != nil || len(r.Findings) > 0 {
		t.Errorf("a run that ended before it began: %+v, %v", r, err)
	}
}
