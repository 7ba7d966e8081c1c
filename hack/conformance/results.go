package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/seamnet/seam/conformance"
	"github.com/seamnet/seam/conformance/plugins"
)

// results are the reports of one run.
type results struct {
	contenders []contender
	plugins    []string // in their order
	reports    map[[2]string]*conformance.Report
}

func (r *results) add(plugin, contender string, report *conformance.Report) {
	if r.reports == nil {
		r.reports = make(map[[2]string]*conformance.Report)
	}
	if !slices.Contains(r.plugins, plugin) {
		r.plugins = append(r.plugins, plugin)
	}
	r.reports[[2]string{plugin, contender}] = report
}

// String is the part of the page.
func (r *results) String() string {
	var b strings.Builder
	r.table(&b, "plugin", counts)
	b.WriteString("\nTimes of one call, one at a time (median of ADD / DEL in milliseconds; the level *speed* never fails):\n\n")
	r.table(&b, "plugin", times)
	for _, c := range r.contenders {
		r.unmet(&b, c)
	}
	return b.String()
}

func (r *results) table(b *strings.Builder, first string, cell func(*conformance.Report) string) {
	fmt.Fprintf(b, "| %s |", first)
	for _, c := range r.contenders {
		fmt.Fprintf(b, " %s |", c.name)
	}
	fmt.Fprintf(b, "\n|---|%s\n", strings.Repeat("---|", len(r.contenders)))
	for _, plugin := range r.plugins {
		fmt.Fprintf(b, "| `%s` |", plugin)
		for _, c := range r.contenders {
			text := "–"
			if report := r.reports[[2]string{plugin, c.name}]; report != nil {
				text = cell(report)
			}
			fmt.Fprintf(b, " %s |", text)
		}
		b.WriteByte('\n')
	}
}

func times(report *conformance.Report) string {
	median := map[string]float64{}
	for _, f := range report.Findings {
		for _, s := range f.Times {
			if _, known := median[s.Name]; !known {
				median[s.Name], _, _ = s.Quantiles()
			}
		}
	}
	if median["ADD"] == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f / %.1f", median["ADD"], median["DEL"])
}

// unmet lists the checks that a contender did not pass, each once, with its plugins.
func (r *results) unmet(b *strings.Builder, c contender) {
	fmt.Fprintf(b, "\n### What %s does not meet\n\n", c.name)
	var list []string
	for _, check := range plugins.All() {
		var where []string
		var outcome conformance.Outcome
		note := ""
		for _, plugin := range r.plugins {
			if f, ok := r.finding(plugin, c, check.ID); ok && isUnmet(f) {
				where = append(where, "`"+plugin+"`")
				outcome = f.Outcome
				if note == "" && len(f.Notes) > 0 {
					note = shorten(f.Notes[0])
				}
			}
		}
		if len(where) > 0 {
			list = append(list, fmt.Sprintf("* **%s** `%s` (%s): %s", outcome, check.ID, strings.Join(where, ", "), note))
		}
	}
	if len(list) == 0 {
		b.WriteString("Nothing.\n")
	}
	for _, line := range list {
		b.WriteString(line + "\n")
	}
}

func (r *results) finding(plugin string, c contender, id string) (conformance.Finding, bool) {
	report := r.reports[[2]string{plugin, c.name}]
	if report == nil {
		return conformance.Finding{}, false
	}
	i := slices.IndexFunc(report.Findings, func(f conformance.Finding) bool { return f.ID == id })
	if i < 0 {
		return conformance.Finding{}, false
	}
	return report.Findings[i], true
}

var temporary = regexp.MustCompile(`/\S*/(seam-conformance-\d+|reference)/`)

// shorten makes a note one line of a list.
func shorten(note string) string {
	note = temporary.ReplaceAllString(strings.Join(strings.Fields(note), " "), "")
	if runes := []rune(note); len(runes) > 240 {
		note = string(runes[:240]) + "…"
	}
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`, "_", `\_`).Replace(note)
}

// checkTables lists the checks by their levels.
func checkTables() string {
	var b strings.Builder
	for _, level := range conformance.Levels() {
		fmt.Fprintf(&b, "\n### %s\n\n| check | force | what is required | source |\n|---|---|---|---|\n", strings.ToUpper(string(level[:1]))+string(level[1:]))
		for _, c := range plugins.All() {
			if c.Level() == level {
				fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", c.ID, c.Force, escape(c.Says), escape(c.Source))
			}
		}
	}
	return b.String()
}

func escape(s string) string { return strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(s) }

// replace puts text between the marks of a part of the page.
func replace(page, part, text string) (string, error) {
	begin, end := "<!-- "+part+": generated -->\n", "<!-- "+part+": end -->"
	i, j := strings.Index(page, begin), strings.Index(page, end)
	if i < 0 || j < i {
		return "", fmt.Errorf("the page lacks the marks of its part %q", part)
	}
	return page[:i+len(begin)] + text + page[j:], nil
}
