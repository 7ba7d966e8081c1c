package main

import (
	"context"
	"io"
)

// An input is standard input that a signal ends, of whatever nobody writes to.
type input struct {
	ctx  context.Context
	from io.Reader
}

func (i input) Read(p []byte) (int, error) {
	type read struct {
		n   int
		err error
	}
	buffer := make([]byte, len(p)) // a Read that is left behind may still write to it
	done := make(chan read, 1)
	go func() {
		n, err := i.from.Read(buffer)
		done <- read{n, err}
	}()
	select {
	case r := <-done:
		return copy(p, buffer[:r.n]), r.err
	case <-i.ctx.Done():
		return 0, i.ctx.Err()
	}
}
