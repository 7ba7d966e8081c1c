package main

import "fmt"

// An exitCode is what the process ends with: those of seam, as far as they can happen.
type exitCode int

const (
	exitDone   exitCode = 0 // ended by a signal; every call was answered
	exitFailed exitCode = 1 // it could not begin, or not go on
	exitUsage  exitCode = 2 // arguments or flags are not valid; nothing was touched
)

const exitCodesHelp = `  0  ended by a signal, after every call was answered
  1  it could not begin, or could not go on
  2  invalid: arguments or flags; nothing was touched`

// A failure is an error with what only the command line knows of it.
type failure struct {
	err  error
	exit exitCode
	next string // what to do now; may be empty
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// usage is a failure of what was typed; nothing was touched yet.
func usage(next, format string, args ...any) *failure {
	return &failure{fmt.Errorf(format, args...), exitUsage, next}
}

// hint adds to an error what to do now.
func hint(err error, next string) error { return &failure{err, exitFailed, next} }
