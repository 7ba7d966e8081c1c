package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/seamnet/seam/conformance"
	"github.com/seamnet/seam/conformance/plugins"
)

// conformProgress says which check is carried out: on a terminal in one line that
// changes, else in a line for each that ended.
type conformProgress struct {
	w               io.Writer
	terminal, quiet bool
}

func (p *conformProgress) show(f conformance.Finding, done, all int) {
	switch {
	case p.quiet:
	case p.terminal && f.Outcome == "":
		fmt.Fprintf(p.w, "\r\x1b[K%d/%d  %s", done, all, f.ID)
	case !p.terminal && f.Outcome != "":
		fmt.Fprintf(p.w, "%d/%d  %-8s %s\n", done, all, f.Outcome, f.ID)
	}
}

func (p *conformProgress) end() {
	if p.terminal && !p.quiet {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// report writes the report wherever it is wanted, and is an error if the target failed, or
// if ctx ended before all was tried.
func (c *cli) report(ctx context.Context, r *conformance.Report, f conformFlags) error {
	if c.flags.json {
		if err := c.printJSON(r); err != nil {
			return err
		}
	} else {
		c.printConformance(r, f)
	}
	for _, file := range []struct {
		name  string
		write func(io.Writer, bool) error
	}{{f.html, r.WriteHTML}, {f.junit, r.WriteJUnit}} {
		if file.name == "" {
			continue
		}
		if err := writeReport(file.name, func(w io.Writer) error { return file.write(w, f.strict) }); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("not all was tried: %w", ctx.Err())
	}
	if r.OK(f.strict) {
		return nil
	}
	return &failure{errSaid, exitDiffers, ""}
}

// writeReport writes a whole file, or none. What is there and no file, as /dev/stdout, is
// written to.
func writeReport(name string, write func(io.Writer) error) error {
	if st, err := os.Stat(name); err == nil && !st.Mode().IsRegular() {
		w, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(write(w), w.Close())
	}
	w, err := os.CreateTemp(filepath.Dir(name), ".report-*")
	if err != nil {
		return err
	}
	defer os.Remove(w.Name()) // is gone if all went well
	if err := write(w); err != nil {
		w.Close()
		return err
	}
	if err := w.Chmod(0o644); err != nil {
		w.Close()
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.Rename(w.Name(), name)
}

// printConformance prints a line for each level, and what there is to say of checks that
// did not pass.
func (c *cli) printConformance(r *conformance.Report, f conformFlags) {
	outcomes := conformance.Outcomes()
	headings := []string{"LEVEL"}
	for _, o := range outcomes {
		headings = append(headings, strings.ToUpper(string(o)))
	}
	t := newTable(append(headings, "TIME")...)
	for _, level := range r.Levels() {
		row := []string{string(level.Level)}
		for _, o := range outcomes {
			row = append(row, orElse(strings.TrimPrefix(fmt.Sprint(level.Count(o)), "0"), ""))
		}
		t.row(append(row, seconds(level.Seconds))...)
	}
	for _, finding := range r.Findings {
		if f.verbose || finding.Outcome != conformance.Passed && finding.Outcome != conformance.Skipped {
			c.printFinding(finding)
		}
	}
	t.print(c.out)
	fmt.Fprintf(c.out, "\n%s: %s, in %s\n", r.Target, verdict(r, f.strict), seconds(r.Seconds))
	if skipped := r.Count(conformance.Skipped); skipped > 0 && !f.verbose {
		fmt.Fprintf(c.out, "%d skipped; --verbose says why\n", skipped)
	}
}

func verdict(r *conformance.Report, strict bool) string {
	switch {
	case len(r.Findings) == 0:
		return "not known: nothing was tried"
	case r.Count(conformance.Failed) > 0:
		return fmt.Sprintf("does not conform: %d failed", r.Count(conformance.Failed))
	case r.Count(conformance.Broken) > 0:
		return fmt.Sprintf("not known: %d checks could not be carried out", r.Count(conformance.Broken))
	case strict && !r.OK(true):
		return fmt.Sprintf("does not conform strictly: %d lacking", r.Count(conformance.Lacking))
	}
	return "conforms"
}

func seconds(s float64) string { return duration(time.Duration(s * float64(time.Second))) }

// mark is how an outcome is seen at a glance.
func mark(o conformance.Outcome) string {
	switch o {
	case conformance.Passed:
		return "✓"
	case conformance.Failed, conformance.Broken:
		return "✗"
	case conformance.Skipped:
		return "·"
	}
	return "!"
}

func (c *cli) printFinding(f conformance.Finding) {
	fmt.Fprintf(c.out, "%s %s  %s  %s\n  %s (%s: %s)\n", mark(f.Outcome), f.ID, f.Outcome, seconds(f.Seconds), f.Says, f.Force, f.Source)
	for _, note := range f.Notes {
		for line := range strings.Lines(note) {
			fmt.Fprintf(c.out, "    %s\n", printable(strings.ReplaceAll(strings.TrimRight(line, "\n"), "\t", "    ")))
		}
	}
	for _, s := range f.Times {
		p50, p90, p99 := s.Quantiles()
		fmt.Fprintf(c.out, "    %s: p50 %s, p90 %s, p99 %s of %d\n", s.Name, seconds(p50/1000), seconds(p90/1000), seconds(p99/1000), len(s.Millis))
	}
	if f.Outcome != conformance.Passed && f.Outcome != conformance.Skipped {
		fmt.Fprintf(c.out, "    again: %s\n", f.Repeat)
	}
	fmt.Fprintln(c.out)
}

func (c *cli) listChecks() error {
	list := plugins.All()
	if c.flags.json {
		type listed struct {
			ID     string            `json:"id"`
			Force  conformance.Force `json:"force"`
			Says   string            `json:"says"`
			Source string            `json:"source"`
		}
		var all []listed
		for _, check := range list {
			all = append(all, listed{check.ID, check.Force, check.Says, check.Source})
		}
		return c.printJSON(all)
	}
	t := newTable("CHECK", "FORCE", "REQUIREMENT", "SOURCE")
	for _, check := range list {
		t.row(check.ID, string(check.Force), check.Says, check.Source)
	}
	t.print(c.out)
	return nil
}
