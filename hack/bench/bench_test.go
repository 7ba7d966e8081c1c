package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The test binary is the program of the hosts, too.
func TestMain(m *testing.M) {
	if asHost(os.Stdin, os.Stdout) || asNode(os.Stdout) {
		return
	}
	os.Exit(m.Run())
}

// TestQuick runs all that a full run does, a few times, so that it cannot rot. That the
// floor makes Seam's state is checked by the run itself.
func TestQuick(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	plan := quickPlan()
	plan.Progress = t.Output()
	plan.Reference = os.Getenv(referenceVariable)
	f, err := bench(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range plan.sets() {
		for _, row := range append(f.rows(set, "ADD"), f.rows(set, "DEL")...) {
			for _, row.Contender = range plan.contenders(set, row.Chain, row.Present) {
				if c := f.median(row); c.Wall <= 0 || c.CPU <= 0 {
					t.Errorf("%+v: not measured: %+v", row, c)
				}
			}
		}
	}
	for _, chain := range plan.Compared.Chains {
		for _, want := range []string{"master " + bridgeName, "10.9.7.209/20", "default via 10.9.0.1", "masquerade", "arp_notify = 1"} {
			if !strings.Contains(f.State[chain], want) {
				t.Errorf("%s: the state that the floor and Seam make lacks %q:\n%s", chain, want, f.State[chain])
			}
		}
	}
	testPrograms(t, f)
	testOutput(t, f)
}

// testPrograms: where strace can count, Seam executes nothing but its own plugins.
func testPrograms(t *testing.T, f *Figures) {
	for c, byVerb := range f.Programs {
		var want map[string][]string
		switch {
		case c.Contender == reference:
			continue
		case c.Contender != executed:
			want = map[string][]string{"ADD": {}, "DEL": {}}
		default:
			forward := recipeOf(c.Chain).executes
			backward := slices.Clone(forward)
			slices.Reverse(backward)
			want = map[string][]string{"ADD": forward, "DEL": backward}
		}
		if diff := cmp.Diff(want, byVerb); diff != "" {
			t.Errorf("programs executed, %s, %s (-want +got)\n%s", c.Contender, c.Chain, diff)
		}
	}
}

func testOutput(t *testing.T, f *Figures) {
	dir := t.TempDir()
	if err := write(dir, f); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "benchmarks.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range f.Plan.sets() {
		for _, chain := range set.Chains {
			got, want := strings.Count(string(page), "\n| "+recipeOf(chain).title+" |"), 4*2*len(set.Present)
			if got != want {
				t.Errorf("%s: rows of the tables = %d, want %d", chain, got, want)
			}
		}
	}
	if got, want := strings.Count(string(page), "**met**")+strings.Count(string(page), "**missed"), len(f.aims()); f.Plan.Reference != "" && got != want {
		t.Errorf("aims judged = %d, want %d:\n%s", got, want, page)
	}
	plot, err := os.ReadFile(filepath.Join(dir, "benchmarks.svg"))
	if err != nil {
		t.Fatal(err)
	}
	want := 0
	for _, row := range f.rows(f.Plan.Compared, "ADD") {
		want += len(f.Plan.contenders(f.Plan.Compared, row.Chain, row.Present))
	}
	if got := strings.Count(string(plot), `rx="1"`); got != want {
		t.Errorf("bars = %d, want %d", got, want)
	}
	if keep := os.Getenv("SEAM_BENCH_KEEP"); keep != "" {
		if err := write(keep, f); err != nil {
			t.Error(err)
		}
	}
}

func TestTally(t *testing.T) {
	for names, want := range map[string]string{
		"":                                 "0",
		"bridge":                           "**1**: bridge",
		"bridge iptables portmap iptables": "**4**: 2 iptables, bridge, portmap",
	} {
		if got := tally(strings.Fields(names)); got != want {
			t.Errorf("tally(%q) = %q, want %q", names, got, want)
		}
	}
}

func TestQuantile(t *testing.T) {
	var costs []Cost
	for _, n := range []time.Duration{9, 2, 1, 3, 8, 5, 4, 6, 7, 10, 0} {
		costs = append(costs, Cost{Wall: n, CPU: 10 - n})
	}
	for share, want := range map[float64]Cost{0: {0, 0}, 0.5: {5, 5}, 0.9: {9, 9}, 1: {10, 10}} {
		if got := quantile(costs, share); got != want {
			t.Errorf("quantile(%v) = %+v, want %+v", share, got, want)
		}
	}
	if got := quantile(nil, 0.5); got != (Cost{}) {
		t.Errorf("quantile of nothing = %+v", got)
	}
}

func TestSentence(t *testing.T) {
	tests := []struct {
		name   string
		limit  float64
		values []float64
		want   string
	}{
		{"met", 1. / 8, []float64{0.1, 0.125}, "- it: **met**. a: 1/10.0; b: 1/8.0."},
		{"missed", 1. / 8, []float64{0.25}, "- it: **missed**. a: 1/4.0 (**too slow by 100 %**)."},
		{"missed in some", 1.2, []float64{1.1, 1.5}, "- it: **missed in 1 of 2**. a: 1.10; b: 1.50 (**too slow by 25 %**)."},
		{"not measured", 1, []float64{0, 0}, "- it: **not measured**."},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := aim{text: "it", limit: test.limit}
			for i, v := range test.values {
				a.figures = append(a.figures, figure{where: string(rune('a' + i)), value: v})
			}
			if diff := cmp.Diff(test.want, a.sentence()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestDifference(t *testing.T) {
	if got, want := difference("a\nb\nb\n", "b\na\nc\n"), "-b\n+c\n"; got != want {
		t.Errorf("difference = %q, want %q", got, want)
	}
}
