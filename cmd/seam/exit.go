package main

import (
	"context"
	"errors"

	"github.com/seamnet/seam/cni"
)

// An exitCode is what the process ends with. The list is part of the program's
// face: "seam help exit-codes" prints it.
type exitCode int

const (
	exitDone        exitCode = 0   // what was asked for is done
	exitFailed      exitCode = 1   // it was tried and went wrong; an add was rolled back
	exitUsage       exitCode = 2   // arguments, flags, names or a network file are not valid; nothing was touched
	exitDiffers     exitCode = 3   // check: what was attached is missing or changed
	exitNotFound    exitCode = 4   // no such network, attachment, namespace or file; nothing was touched
	exitUnavailable exitCode = 5   // status: the network cannot take containers now; or: try again later
	exitUnwritten   exitCode = 6   // done, but standard output could not be written
	exitInterrupted exitCode = 130 // stopped by a signal; an add was rolled back
)

const exitCodesHelp = `  0    done
  1    tried, and it went wrong (an add was rolled back); plan: the add would fail;
       trace: the packet does not arrive
  2    invalid: arguments, flags, names or the network's file; nothing was touched
  3    check: something that was attached is missing or changed; conform: the target
       does not do what it must
  4    not found: network, attachment, namespace or file; nothing was touched
  5    not now: the network cannot take containers, or asks to try again later
  6    done, but what was to be printed could not be written: nobody reads it, or
       the disk is full
  130  stopped by a signal (an add was rolled back)

add, del, check, gc and status also print the specification's error object, with
its code, on standard output.

Called as a plugin (bridge, ptp, host-local, ...) the program ends with 0 or 1,
as the specification has it.`

// exitOf returns the exit code for an error.
func exitOf(err error) exitCode {
	if f, ok := errors.AsType[*failure](err); ok && f.exit != exitDone {
		return f.exit
	}
	if errors.Is(err, context.Canceled) {
		return exitInterrupted
	}
	switch cni.CodeOf(err) {
	case cni.CodeIncompatibleVersion, cni.CodeUnsupportedField, cni.CodeInvalidEnvironment, cni.CodeDecoding, cni.CodeInvalidConfig:
		return exitUsage
	case cni.CodeUnknownContainer:
		return exitNotFound
	case cni.CodeTryAgain, cni.CodeNotAvailable, cni.CodeLimited:
		return exitUnavailable
	}
	return exitFailed
}
