package main

import (
	"io"
	"os"
	"os/signal"
	"syscall"
)

// An output is standard output. That nobody reads it any more stops no work: the first
// error is kept for the end of the command, and what follows it is lost.
type output struct {
	to  io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	if o.err == nil {
		_, o.err = o.to.Write(p)
	}
	return len(p), nil
}

// outliveReaders makes a broken pipe an error of who writes to it, where it would end
// the process in the middle of its work. The signal is caught and not ignored, because
// executed plugins would inherit that.
func outliveReaders() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }
