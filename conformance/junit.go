package conformance

import (
	"fmt"
	"io"
	"strings"
)

// WriteJUnit writes the report as JUnit's XML, a test suite for each level. What should be
// and is not counts as a failure if strict is set.
func (r *Report) WriteJUnit(w io.Writer, strict bool) error {
	var b markup
	b.line(`<?xml version="1.0" encoding="UTF-8"?>`)
	b.line(`<testsuites name="%s" time="%.3f" timestamp="%s">`, r.Target, r.Seconds, r.Started.UTC().Format("2006-01-02T15:04:05"))
	for _, l := range r.Levels() {
		failures := l.Count(Failed)
		if strict {
			failures += l.Count(Lacking)
		}
		b.line(`  <testsuite name="%s.%s" tests="%d" failures="%d" errors="%d" skipped="%d" time="%.3f">`,
			r.Suite, l.Level, len(l.Findings), failures, l.Count(Broken), l.Count(Skipped), l.Seconds)
		for _, f := range l.Findings {
			b.line(`    <testcase classname="%s.%s" name="%s" time="%.3f">`, r.Suite, l.Level, f.ID, f.Seconds)
			b.outcome(f, strict)
			b.line(`    </testcase>`)
		}
		b.line(`  </testsuite>`)
	}
	b.line(`</testsuites>`)
	return b.to(w)
}

// outcome writes what JUnit wants to know of a test that did not simply pass.
func (b *markup) outcome(f Finding, strict bool) {
	notes := strings.Join(append(f.Notes[:len(f.Notes):len(f.Notes)], f.Source, f.Repeat), "\n")
	switch {
	case f.fails(strict):
		b.line(`      <failure type="%s" message="%s">%s</failure>`, f.Force, f.Says, notes)
	case f.Outcome == Broken:
		b.line(`      <error message="the suite could not carry it out">%s</error>`, notes)
	case f.Outcome == Skipped:
		b.line(`      <skipped message="%s"/>`, notes)
	case len(f.Notes) > 0:
		b.line(`      <system-out>%s: %s</system-out>`, f.Outcome, notes)
	}
}

// A markup is a page or a document of XML. It is written without a library of templates:
// those call methods by their names, for which the linker would keep every method of
// all packages in the program that is executed for every attachment, and make it half as large again.
type markup struct{ text strings.Builder }

// line writes a line, in which the arguments are escaped as text.
func (b *markup) line(format string, args ...any) {
	b.put(format, args...)
	b.text.WriteByte('\n')
}

func (b *markup) put(format string, args ...any) {
	for i, arg := range args {
		switch s := arg.(type) {
		case string:
			args[i] = escape(s)
		case Outcome:
			args[i] = escape(string(s))
		case Force:
			args[i] = escape(string(s))
		case Level:
			args[i] = escape(string(s))
		}
	}
	fmt.Fprintf(&b.text, format, args...)
}

func (b *markup) to(w io.Writer) error {
	if _, err := io.WriteString(w, b.text.String()); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// escape is for text and attributes of both HTML and XML. What XML cannot hold, however it
// is written, is replaced.
func escape(s string) string {
	s = strings.Map(func(c rune) rune {
		if c < ' ' && c != '\n' && c != '\t' || c == '\ufffe' || c == '\uffff' {
			return '\ufffd'
		}
		return c
	}, strings.ToValidUTF8(s, "\ufffd"))
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;").Replace(s)
}
