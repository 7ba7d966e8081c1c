package plugins_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/seamnet/seam/conformance"
)

// TestSpeedIsTold: times and programs are told, whatever they are, and nothing fails.
func TestSpeedIsTold(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	tests := []struct {
		plugin, check string
		notes         []string
		series        map[string]int // at least so many times
	}{
		{"bridge", "speed/cycle", []string{"ADD: ", "p99"}, map[string]int{"ADD": 5, "CHECK": 5, "DEL": 5}},
		{"bridge", "speed/answers", []string{"STATUS of bridge: "}, map[string]int{"VERSION of bridge": 5, "STATUS of bridge": 5}},
		{"bridge", "speed/crowd", nil, map[string]int{"ADD, 16 at a time": 16, "DEL, 16 at a time": 16, "ADD of all 16": 1}},
		{"is-small", "speed/growth", []string{"no more attachments: ADD of is-small: eleven are enough", "ADD beside 10: "}, map[string]int{"ADD beside 0": 5, "DEL beside 10": 1}},
		{"executes", "speed/programs", []string{"ADD executes 2 programs: true 2×", "DEL executes no program"}, nil},
	}
	for _, test := range tests {
		t.Run(test.check, func(t *testing.T) {
			if _, err := exec.LookPath("strace"); err != nil && test.check == "speed/programs" {
				t.Skip("needs strace")
			}
			f := onTrial(t, test.plugin, test.check, false)
			text := strings.Join(f.Notes, "\n")
			if f.Outcome != conformance.Passed {
				t.Errorf("%s, want passed:\n%s", f.Outcome, text)
			}
			for _, note := range test.notes {
				if !strings.Contains(text, note) {
					t.Errorf("no note with %q:\n%s", note, text)
				}
			}
			seen := make(map[string]int)
			for _, s := range f.Times {
				seen[s.Name] = len(s.Millis)
			}
			for name, least := range test.series {
				if seen[name] < least {
					t.Errorf("%d times of %q, want at least %d of %v", seen[name], name, least, seen)
				}
			}
		})
	}
}
