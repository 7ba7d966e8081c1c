package main

import (
	"os"
	"os/signal"
	"strings"

	"golang.org/x/sys/unix"
)

// A shower shows frames, and may have signals to be told of.
type shower interface {
	frame(*frame) error
	signals() <-chan os.Signal // nil: none
	handle(os.Signal)
}

func (lines) signals() <-chan os.Signal { return nil }
func (lines) handle(os.Signal)          {}

// Control sequences, as ECMA-48 and xterm have them.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[2J" // the alternate screen, no cursor, empty
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	eraseLine   = "\x1b[K" // what is right of the cursor
	eraseBelow  = "\x1b[J"
	plain       = "\x1b[0m"
)

// A screen draws frames in place on a terminal. It takes the alternate screen, so that
// what was there before is there again at the end.
type screen struct {
	to *os.File
	picture

	last   *frame
	signal chan os.Signal
}

// terminal returns standard output if it is a terminal, else nil.
func (c *cli) terminal() *os.File {
	out, ok := c.out.(*output)
	if !ok || !isTerminal(out.to) {
		return nil
	}
	return out.to.(*os.File)
}

// enter takes the screen. While it has it, only the first interrupt ends the process, by its
// context: a second one would end it at once, and leave the terminal as it is.
func (s *screen) enter() {
	s.signal = make(chan os.Signal, 4)
	signal.Notify(s.signal, unix.SIGWINCH, unix.SIGTSTP, unix.SIGINT)
	s.write(enterScreen)
}

func (s *screen) leave() {
	s.write(leaveScreen)
	signal.Stop(s.signal)
}

func (s *screen) signals() <-chan os.Signal { return s.signal }

// handle draws the last frame to the window's new size, and gives the terminal back while
// the process is stopped.
func (s *screen) handle(sig os.Signal) {
	switch sig {
	case unix.SIGINT:
		return
	case unix.SIGTSTP:
		s.write(leaveScreen)
		_ = unix.Kill(os.Getpid(), unix.SIGSTOP)
		s.write(enterScreen)
	}
	_ = s.frame(s.last) // a terminal that is gone is the next frame's error
}

// frame draws a frame in one write, over the last one.
func (s *screen) frame(f *frame) error {
	s.last = f
	s.width, s.height = s.size()
	var b strings.Builder
	b.WriteString(home)
	b.WriteString(strings.Join(s.draw(f), eraseLine+"\r\n"))
	b.WriteString(eraseLine + eraseBelow)
	return s.write(b.String())
}

func (s *screen) write(text string) error {
	_, err := s.to.WriteString(text)
	return err
}

// size returns the window's columns and lines.
func (s *screen) size() (width, height int) {
	size, err := unix.IoctlGetWinsize(int(s.to.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 || size.Row == 0 {
		return 80, 24 // a terminal that does not say is a serial line
	}
	return int(size.Col), int(size.Row)
}
