package conformance

import (
	"fmt"
	"io"
	"strings"
	"text/template"
)

// The templates of this room are read with text/template, whose function html escapes what
// both HTML and XML want escaped: the packages for these would be linked into the program
// that is executed for every attachment.
const junitText = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="{{text .Report.Target}}" time="{{printf "%.3f" .Report.Seconds}}" timestamp="{{.Report.Started.UTC.Format "2006-01-02T15:04:05"}}">
{{- range .Levels}}
  <testsuite name="{{html $.Report.Suite}}.{{.Level}}" tests="{{len .Findings}}" failures="{{$.Failures .}}" errors="{{.Count "broken"}}" skipped="{{.Count "skipped"}}" time="{{printf "%.3f" .Seconds}}">
  {{- range .Findings}}
    <testcase classname="{{html $.Report.Suite}}.{{.Level}}" name="{{html .ID}}" time="{{printf "%.3f" .Seconds}}">
    {{- if $.Fails .}}
      <failure type="{{.Force}}" message="{{text .Says}}">{{text (notes .)}}</failure>
    {{- else if eq .Outcome "broken"}}
      <error message="the suite could not carry it out">{{text (notes .)}}</error>
    {{- else if eq .Outcome "skipped"}}
      <skipped message="{{text (notes .)}}"/>
    {{- else if .Notes}}
      <system-out>{{.Outcome}}: {{text (notes .)}}</system-out>
    {{- end}}
    </testcase>
  {{- end}}
  </testsuite>
{{- end}}
</testsuites>
`

// WriteJUnit writes the report as JUnit's XML, a test suite for each level. What should be
// and is not counts as a failure if strict is set.
func (r *Report) WriteJUnit(w io.Writer, strict bool) error {
	return r.write(w, junitText, strict)
}

// write fills in a template.
func (r *Report) write(w io.Writer, text string, strict bool) error {
	t, err := template.New("").Funcs(template.FuncMap{
		"text": func(s string) string { return template.HTMLEscapeString(printable(s)) },
		"notes": func(f Finding) string {
			return strings.Join(append(f.Notes[:len(f.Notes):len(f.Notes)], f.Source, f.Repeat), "\n")
		},
		"plot": plot,
	}).Parse(text)
	if err != nil {
		return err
	}
	if err := t.Execute(w, written{r, r.Levels(), strict}); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// written is what templates see.
type written struct {
	Report *Report
	Levels []LevelReport
	Strict bool
}

// Outcomes returns all of them.
func (w written) Outcomes() []Outcome { return Outcomes() }

// Fails reports whether the finding makes the target fail.
func (w written) Fails(f Finding) bool { return f.fails(w.Strict) }

// Failures returns how many of the level's findings do.
func (w written) Failures(l LevelReport) int {
	n := 0
	for _, f := range l.Findings {
		if f.fails(w.Strict) {
			n++
		}
	}
	return n
}

func (f Finding) fails(strict bool) bool {
	return f.Outcome == Failed || strict && f.Outcome == Lacking
}

// printable leaves out what XML cannot hold, however it is written.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' && c != '\n' && c != '\t' || c == '\ufffe' || c == '\uffff' {
			return '\ufffd'
		}
		return c
	}, strings.ToValidUTF8(s, "\ufffd"))
}
