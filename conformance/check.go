package conformance

import "strings"

// A Level is how deep a check looks.
type Level string

// The levels, in the order in which they are carried out.
const (
	Protocol Level = "protocol" // what is said: verbs, versions, results, errors
	Kernel   Level = "kernel"   // whether what the result claims is so
	Network  Level = "network"  // who reaches whom
	Leaks    Level = "leaks"    // what is left when all is taken away
	Speed    Level = "speed"    // how long it takes, and what it executes
)

// Levels returns all levels in their order.
func Levels() []Level { return []Level{Protocol, Kernel, Network, Leaks, Speed} }

// A Force is how much a specification insists.
type Force string

const (
	Must   Force = "must"   // not to do it is a failure
	Should Force = "should" // not to do it is a failure, too, if strictness is asked for
	Open   Force = "open"   // the specification leaves it open: told, never a failure
)

// A Check is one requirement, and how to find out whether it is met.
type Check struct {
	ID     string // stable; LEVEL/NAME
	Force  Force
	Says   string // what is required, one sentence in our words
	Source string // where the specification says so: its version and section
	Run    func(t *T)
}

// Level returns the first part of the ID.
func (c Check) Level() Level {
	level, _, _ := strings.Cut(c.ID, "/")
	return Level(level)
}

// A Suite is all that is asked of one target.
type Suite struct {
	Name   string // by which Serve knows it
	Target any    // what is on trial, for Serve: it is passed on as JSON
	Title  string // what is on trial, for people
	Repeat string // the command that tests this target; a check's ID is appended after --check
	Checks []Check

	// Here is for a target that lives on this host already: its checks have no host of
	// their own, and are carried out one at a time.
	Here bool
}
