package cni

import (
	"errors"
	"fmt"
)

// A Code classifies an Error (specification 1.1.0, section 5, "Error").
type Code uint

const (
	CodeIncompatibleVersion Code = 1 // the configuration's version is not supported
	CodeUnsupportedField    Code = 2 // a key or value is not supported; the message names both
	CodeUnknownContainer    Code = 3 // the container does not exist; nothing need be cleaned up
	CodeInvalidEnvironment  Code = 4 // a parameter is missing or invalid; the message names it
	CodeIO                  Code = 5 // reading or writing went wrong
	CodeDecoding            Code = 6 // the configuration could not be decoded
	CodeInvalidConfig       Code = 7 // the configuration was decoded, but is not valid
	CodeInvalidNetNS        Code = 8 // the namespace is missing, is none, or is the plugin's own
	CodeTryAgain            Code = 11
	CodeNotAvailable        Code = 50 // STATUS: Add cannot be served
	CodeLimited             Code = 51 // STATUS: Add cannot be served, and existing containers may be cut off

	// CodeExists is Seam's own: what Add was to make is there already, made for
	// someone else or by an earlier Add. The call touched nothing, so there is
	// nothing to roll back, and rolling back would destroy the earlier attachment.
	CodeExists Code = 100

	// CodeInternal is what an error without a code of its own becomes.
	CodeInternal Code = 999
)

// An Error is the specification's error object.
type Error struct {
	Code    Code
	Msg     string // what went wrong, where
	Details string // what to do about it, or more of the cause; may be empty
	cause   error

	untouched bool // see Untouched
}

func (e *Error) Error() string {
	if e.Details != "" {
		return e.Msg + "; " + e.Details
	}
	return e.Msg
}

// Unwrap returns the error that %w named in Errorf, or nil.
func (e *Error) Unwrap() error { return e.cause }

// Errorf returns an Error; the format may hold one %w.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Msg: err.Error(), cause: errors.Unwrap(err)}
}

// WithDetails returns a copy of e with the details set.
func (e *Error) WithDetails(format string, args ...any) *Error {
	c := *e
	c.Details = fmt.Sprintf(format, args...)
	return &c
}

// Untouched returns err, its code and details kept, as that of an Add which touched
// nothing: there is nothing to roll back. Who wraps it passes that on, but for an Errorf of
// its own, and Touched.
func Untouched(err error) *Error {
	e := Errorf(CodeOf(err), "%w", err)
	if own, ok := err.(*Error); ok {
		e.Msg, e.Details = own.Msg, own.Details
	}
	e.untouched = true
	return e
}

// Touched returns err as that of an Add which made something, though what it called did not.
// CodeExists, which says that by itself, becomes CodeInternal.
func Touched(err error) error {
	if !IsUntouched(err) {
		return err
	}
	code := CodeOf(err)
	if code == CodeExists {
		code = CodeInternal
	}
	return Errorf(code, "%w", err)
}

// IsUntouched reports whether err says that an Add touched nothing: it is Untouched, or has
// CodeExists. It goes by the first Error in err's tree.
func IsUntouched(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && (e.untouched || e.Code == CodeExists)
}

// CodeOf returns the code of the first Error in err's tree, or CodeInternal.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}
