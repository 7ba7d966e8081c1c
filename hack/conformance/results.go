package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/seamnet/seam/conformance"
)

// results are the reports of one run: of each row, of each contender.
type results struct {
	row        string // what the rows are
	contenders []string
	checks     []conformance.Check
	rows       []string
	reports    map[[2]string]*conformance.Report
}

func (r *results) add(row, contender string, report *conformance.Report) {
	if r.reports == nil {
		r.reports = make(map[[2]string]*conformance.Report)
	}
	if !slices.Contains(r.rows, row) {
		r.rows = append(r.rows, row)
	}
	r.reports[[2]string{row, contender}] = report
	fmt.Fprintf(os.Stderr, "%-12s %-17s %s\n", row, contender, counts(report))
}

// String is the part of the page.
func (r *results) String() string {
	var b strings.Builder
	r.table(&b, counts)
	if r.row == "plugin" {
		b.WriteString("\nTimes of one call, one at a time (median of ADD / DEL in milliseconds; the level *speed* never fails):\n\n")
		r.table(&b, times)
	}
	for _, c := range r.contenders {
		r.unmet(&b, c)
	}
	return b.String()
}

func (r *results) table(b *strings.Builder, cell func(*conformance.Report) string) {
	fmt.Fprintf(b, "| %s | %s |\n|---|%s\n", r.row, strings.Join(r.contenders, " | "), strings.Repeat("---|", len(r.contenders)))
	for _, row := range r.rows {
		fmt.Fprintf(b, "| `%s` |", row)
		for _, c := range r.contenders {
			text := "–"
			if report := r.reports[[2]string{row, c}]; report != nil {
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

// unmet lists the checks that a contender did not pass, each once, with where that was.
func (r *results) unmet(b *strings.Builder, contender string) {
	fmt.Fprintf(b, "\n#### What %s does not meet\n\n", contender)
	some := false
	for _, check := range r.checks {
		var where []string
		var first conformance.Finding
		for _, row := range r.rows {
			if f, ok := r.finding(row, contender, check.ID); ok && isUnmet(f) {
				if where = append(where, "`"+row+"`"); len(where) == 1 {
					first = f
				}
			}
		}
		if len(where) > 0 {
			some = true
			fmt.Fprintf(b, "* **%s** `%s` (%s): %s\n", first.Outcome, check.ID, strings.Join(where, ", "), shorten(strings.Join(first.Notes[:min(1, len(first.Notes))], "")))
		}
	}
	if !some {
		b.WriteString("Nothing.\n")
	}
}

func (r *results) finding(row, contender, id string) (conformance.Finding, bool) {
	report := r.reports[[2]string{row, contender}]
	if report == nil {
		return conformance.Finding{}, false
	}
	i := slices.IndexFunc(report.Findings, func(f conformance.Finding) bool { return f.ID == id })
	if i < 0 {
		return conformance.Finding{}, false
	}
	return report.Findings[i], true
}

var temporary = regexp.MustCompile(`/[^\s:\[\]"]*/(seam-conformance-\d+|reference|drivers)/?`)

// shorten makes a note one line of a list.
func shorten(note string) string {
	note = temporary.ReplaceAllString(strings.Join(strings.Fields(note), " "), "")
	if runes := []rune(note); len(runes) > 240 {
		note = string(runes[:240]) + "…"
	}
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`, "_", `\_`).Replace(note)
}

// checkTables lists the checks by their levels.
func checkTables(checks []conformance.Check) string {
	var b strings.Builder
	for _, level := range conformance.Levels() {
		fmt.Fprintf(&b, "\n#### %s\n\n| check | force | what is required | source |\n|---|---|---|---|\n", strings.ToUpper(string(level[:1]))+string(level[1:]))
		for _, c := range checks {
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
