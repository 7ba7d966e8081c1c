package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
)

// A failure is an error with what only the command line knows of it.
type failure struct {
	err  error
	exit exitCode // exitDone: decided by the error
	next string   // what to do now; may be empty
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// usage is a failure of what was typed or set; nothing was touched yet.
func usage(format string, args ...any) *failure {
	return &failure{err: cni.Errorf(cni.CodeInvalidEnvironment, format, args...), exit: exitUsage}
}

// hint adds what to do now to an error.
func hint(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &failure{err: err, next: fmt.Sprintf(format, args...)}
}

// fail reports the error of a command: a sentence on standard error and, where
// the specification wants one or --json asks for it, an error object on standard
// output.
func (c *cli) fail(command string, object bool, err error) exitCode {
	if errors.Is(err, errSaid) {
		return exitOf(err)
	}
	c.sentence(command, err)
	if object {
		fmt.Fprintf(c.out, "%s\n", indent(wire.EncodeError(err, c.spec)))
	}
	return exitOf(err)
}

// errSaid marks an error whose every detail the command has printed already.
var errSaid = errors.New("see above")

func (c *cli) sentence(command string, err error) {
	message, details := err.Error(), ""
	if e, ok := errors.AsType[*cni.Error](err); ok && e.Details != "" {
		message, details = strings.Replace(message, "; "+e.Details, "", 1), e.Details
	}
	fmt.Fprintf(c.err, "%s: %s\n", command, strings.ReplaceAll(message, "\n", "\n  "))
	if details != "" {
		fmt.Fprintf(c.err, "  %s\n", strings.ReplaceAll(details, "\n", "\n  "))
	}
	if next := nextStep(err, details); next != "" {
		fmt.Fprintf(c.err, "  next: %s\n", next)
	}
}

func nextStep(err error, details string) string {
	if f, ok := errors.AsType[*failure](err); ok && f.next != "" {
		return f.next
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "run it as root: networks and namespaces are the kernel's"
	case cni.CodeOf(err) == cni.CodeExists && details == "":
		return "seam ls shows what is attached, which seam del removes; or choose another name with --ifname"
	}
	return ""
}

// indent lays JSON out for people.
func indent(data []byte) []byte {
	var v json.RawMessage = data
	pretty, err := json.MarshalIndent(v, "", "    ")
	if err != nil {
		return data
	}
	return pretty
}
