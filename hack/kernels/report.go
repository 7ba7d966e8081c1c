package main

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A report turns the lines of the machine's console into what people read, and at the
// end says whether all is well.
type report struct {
	Out     io.Writer
	Verbose bool                 // all lines
	Elapsed func() time.Duration // since the machine was switched on

	running string   // the package
	lines   []string // of the test that runs, or of the one that has just ended
	ended   []string // that one's line "--- PASS: …", as matched by result; nil: none
	skips   []string // names that were told already
	passed, failed, skipped,
	packages int // how many
	finished bool
	problems []error
}

var (
	// go test's lines are at the left; those of a test in its own process are indented.
	result  = regexp.MustCompile(`^--- (PASS|FAIL|SKIP): (\S+) \(([0-9.]+s)\)`)
	start   = regexp.MustCompile(`^=== RUN   [^/\s]+$`)
	skip    = regexp.MustCompile(`^\s*--- SKIP: (\S+) \(`)
	message = regexp.MustCompile(`^\s+\w+\.go:\d+: (.+)`)
)

// line takes the console's next line.
func (r *report) line(s string) {
	s = strings.TrimRight(s, "\r\n")
	if r.Verbose && s != "" {
		fmt.Fprintln(r.Out, strings.TrimPrefix(s, "\x01"))
	}
	word, rest, _ := strings.Cut(s, " ")
	switch {
	case word == markReady:
		fmt.Fprintf(r.Out, "up after %.1fs\n", r.Elapsed().Seconds())
	case word == markLost:
		r.problem("machine: %s", rest)
	case word == markDone:
		r.finished = true
	case word == markBegin:
		r.running, r.lines, r.skips = rest, nil, nil
		fmt.Fprintln(r.Out, rest)
	case word == markEnd:
		r.end(rest)
	case r.finished: // "reboot: Restarting system"
	case result.MatchString(s):
		r.flush()
		r.ended = result.FindStringSubmatch(s)
		r.lines = append(r.lines, s)
	case start.MatchString(s):
		r.flush()
		r.lines = []string{s}
	default:
		r.lines = append(r.lines, s)
	}
}

// flush tells of the test that has ended. It waits until all its lines are here: those
// of its subtests follow its own.
func (r *report) flush() {
	if r.ended == nil {
		return
	}
	kind, name, took := r.ended[1], r.ended[2], r.ended[3]
	r.tellSkips()
	switch kind {
	case "PASS":
		r.passed++
		fmt.Fprintf(r.Out, "  ok    %s %s\n", name, took)
	case "SKIP":
		r.skipped++
	case "FAIL":
		r.failed++
		fmt.Fprintf(r.Out, "  FAIL  %s %s\n%s", name, took, r.printed())
	}
	r.ended, r.lines = nil, nil
}

// tellSkips tells which tests and subtests were skipped, and why. A test that was
// because of "this kernel" is a problem: it is here for the kernel.
func (r *report) tellSkips() {
	why := "no reason given"
	for _, line := range r.lines {
		if m := message.FindStringSubmatch(line); m != nil && !strings.HasPrefix(m[1], "=== ") {
			why = m[1]
		}
		m := skip.FindStringSubmatch(line)
		if m == nil || slices.Contains(r.skips, m[1]) {
			continue
		}
		r.skips = append(r.skips, m[1])
		fmt.Fprintf(r.Out, "  skip  %s: %s\n", m[1], why)
		if strings.Contains(why, "this kernel") {
			r.problem("%s: %s was skipped: %s", r.running, m[1], why)
		}
	}
}

// end takes the end of a package: its name, seconds, and "ok" or what became of it.
func (r *report) end(s string) {
	name, rest, _ := strings.Cut(s, " ")
	took, outcome, _ := strings.Cut(rest, " ")
	failures := r.failed
	r.flush()
	r.packages++
	if outcome != "ok" {
		if r.failed == failures && r.lines != nil {
			fmt.Fprint(r.Out, r.printed())
		}
		r.problem("%s: %s", name, outcome)
	}
	fmt.Fprintf(r.Out, "  %s in %ss\n", outcome, took)
	r.running, r.lines = "", nil
}

func (r *report) problem(format string, args ...any) {
	r.problems = append(r.problems, fmt.Errorf(format, args...))
}

// printed returns the kept lines, indented; nothing if they were shown already.
func (r *report) printed() string {
	if r.Verbose {
		return ""
	}
	var b strings.Builder
	for _, l := range r.lines {
		b.WriteString("        " + l + "\n")
	}
	return b.String()
}

// verdict is called when the machine has ended. It prints the sum, and returns what is
// wrong.
func (r *report) verdict() error {
	if !r.finished {
		r.flush()
		fmt.Fprint(r.Out, r.printed())
		r.problem("machine: ended before its work%s", strings.TrimSuffix(" during "+r.running, " during "))
	}
	if r.passed == 0 {
		r.problem("no test passed")
	}
	fmt.Fprintf(r.Out, "%d passed, %d failed, %d skipped in %d packages, %.0fs\n",
		r.passed, r.failed, r.skipped, r.packages, r.Elapsed().Seconds())
	return errors.Join(r.problems...)
}
