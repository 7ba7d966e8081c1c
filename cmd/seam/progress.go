package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// progress says on standard error what is being done once it takes over a second:
// on a terminal in one line that changes, else in a line now and then. What it
// returns ends that.
func (c *cli) progress(format string, args ...any) (stop func()) {
	what := fmt.Sprintf(format, args...)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		report(c.err, what, isTerminal(c.err), done)
	}()
	return func() {
		close(done)
		<-ended
	}
}

func report(w io.Writer, what string, terminal bool, done <-chan struct{}) {
	start, wait := time.Now(), time.Second
	for shown := false; ; shown = true {
		select {
		case <-done:
			if terminal && shown {
				fmt.Fprint(w, "\r\x1b[K")
			}
			return
		case <-time.After(wait):
		}
		seconds := int(time.Since(start).Seconds())
		if terminal {
			fmt.Fprintf(w, "\r\x1b[K%s … %d s", what, seconds)
			continue
		}
		fmt.Fprintf(w, "%s … %d s\n", what, seconds)
		wait *= 2
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
