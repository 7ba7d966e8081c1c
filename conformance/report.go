package conformance

import "time"

// An Outcome is what came out of a check.
type Outcome string

const (
	Passed  Outcome = "passed"
	Failed  Outcome = "failed"  // a must is not met
	Lacking Outcome = "lacking" // a should is not met
	Differs Outcome = "differs" // from what most would expect; the specification leaves it open
	Skipped Outcome = "skipped" // the check does not fit this target or this machine
	Broken  Outcome = "broken"  // the suite could not carry it out
)

// A Finding is a check with its outcome.
type Finding struct {
	ID      string   `json:"id"`
	Outcome Outcome  `json:"outcome"`
	Force   Force    `json:"force"`
	Says    string   `json:"says"`
	Source  string   `json:"source"`
	Notes   []string `json:"notes,omitempty"` // what was seen; for a failure, what was wanted
	Repeat  string   `json:"repeat"`          // a command that carries out this check alone
	Seconds float64  `json:"seconds"`
	Times   []Series `json:"times,omitempty"`
}

// fails reports whether the finding makes the target fail.
func (f Finding) fails(strict bool) bool {
	return f.Outcome == Failed || strict && f.Outcome == Lacking
}

// Level returns the check's.
func (f Finding) Level() Level { return Check{ID: f.ID}.Level() }

func (f Finding) unmet() Outcome {
	switch f.Force {
	case Should:
		return Lacking
	case Open:
		return Differs
	}
	return Failed
}

// A Series is a distribution of measured times.
type Series struct {
	Name   string    `json:"name"`
	Millis []float64 `json:"milliseconds"`
}

// A Report is what Run found out.
type Report struct {
	Suite    string    `json:"suite"`
	Target   string    `json:"target"`
	Kernel   string    `json:"kernel"`
	Started  time.Time `json:"started"`
	Seconds  float64   `json:"seconds"`
	Findings []Finding `json:"findings"` // in the order of the suite's checks
}

// Count returns how many findings have that outcome.
func (r *Report) Count(o Outcome) int {
	n := 0
	for _, f := range r.Findings {
		if f.Outcome == o {
			n++
		}
	}
	return n
}

// OK reports whether nothing failed or broke; with strict, nothing that should be is
// lacking either.
func (r *Report) OK(strict bool) bool {
	return r.Count(Failed)+r.Count(Broken) == 0 && (!strict || r.Count(Lacking) == 0)
}

// Outcomes returns all outcomes, the good ones first.
func Outcomes() []Outcome { return []Outcome{Passed, Differs, Lacking, Failed, Broken, Skipped} }

// A LevelReport is a report of one level.
type LevelReport struct {
	Report
	Level Level
}

// Levels returns the levels that have findings. Their Seconds are those of the checks in
// sum, of which several may have run at a time.
func (r *Report) Levels() []LevelReport {
	var all []LevelReport
	for _, level := range Levels() {
		l := LevelReport{Level: level}
		for _, f := range r.Findings {
			if f.Level() == level {
				l.Findings = append(l.Findings, f)
				l.Seconds += f.Seconds
			}
		}
		if len(l.Findings) > 0 {
			all = append(all, l)
		}
	}
	return all
}
