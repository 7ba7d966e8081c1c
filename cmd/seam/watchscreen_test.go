package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seamnet/seam/netns/netnstest"
)

// TestScreen plays a terminal: frames are drawn in place, to its size as that changes, and
// an interrupt gives back what was there before.
func TestScreen(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		b := newWatchBench(t, blue)
		b.attach(t, "blue", "c1")
		terminal, slave := openTerminal(t)
		terminal.resize(t, 60, 20)
		cmd := exec.Command("/proc/self/exe", "ls", "--watch", "--interval", "1h", "--conf-dir", b.conf)
		cmd.Args[0] = "seam"
		cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		slave.Close()
		terminal.until(t, enterScreen)
		narrow := terminal.until(t, eraseBelow)
		for _, want := range []string{home, "CONTAINER", "c1", "IN B/s", eraseLine} {
			if !strings.Contains(narrow, want) {
				t.Errorf("no %q in a frame of 60 columns:\n%q", want, narrow)
			}
		}
		if strings.Contains(narrow, "PORTS") {
			t.Errorf("a frame of 60 columns has all:\n%q", narrow)
		}
		terminal.resize(t, 200, 20)
		if wide := terminal.until(t, eraseBelow); !strings.Contains(wide, "PORTS") || strings.Contains(wide, enterScreen) {
			t.Errorf("a frame of 200 columns:\n%q", wide)
		}
		terminal.stopAndGoOn(t, cmd.Process)
		terminal.press(t, "\x03\x03\x03") // Ctrl-C, by someone in a hurry
		terminal.until(t, leaveScreen)
		if err := cmd.Wait(); err != nil {
			t.Errorf("after Ctrl-C: %v", err)
		}
	})
}

// A terminal is the side of a pseudo terminal that a person would sit at.
type terminal struct {
	fd     int // of master, whose own method would make it block
	master *os.File
	left   string // read, and not asked for yet
}

// openTerminal also returns the side that a program writes to.
func openTerminal(t *testing.T) (*terminal, *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	side := &terminal{fd: fd, master: os.NewFile(uintptr(fd), "/dev/ptmx")}
	t.Cleanup(func() { side.master.Close() })
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return side, slave
}

func (t *terminal) resize(test *testing.T, columns, rows uint16) {
	test.Helper()
	if err := unix.IoctlSetWinsize(t.fd, unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}); err != nil {
		test.Fatal(err)
	}
}

// stopAndGoOn plays Ctrl-Z, and the shell's fg.
func (t *terminal) stopAndGoOn(test *testing.T, p *os.Process) {
	test.Helper()
	t.press(test, "\x1a")
	t.until(test, leaveScreen)
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid))
		if err != nil || time.Now().After(deadline) {
			test.Fatalf("it is not stopped: %s, %v", stat, err)
		}
		if strings.Contains(string(stat), ") T ") {
			break
		}
	}
	if err := p.Signal(unix.SIGCONT); err != nil {
		test.Fatal(err)
	}
	t.until(test, enterScreen)
	t.until(test, eraseBelow)
}

// press sends what keys send, which the terminal's driver makes signals of.
func (t *terminal) press(test *testing.T, keys string) {
	test.Helper()
	if _, err := t.master.WriteString(keys); err != nil {
		test.Fatal(err)
	}
}

// until reads on to the end of a mark, and returns what came.
func (t *terminal) until(test *testing.T, mark string) string {
	test.Helper()
	buffer := make([]byte, 1<<12)
	for deadline := time.Now().Add(5 * time.Second); ; {
		if before, after, ok := strings.Cut(t.left, mark); ok {
			t.left = after
			return before + mark
		}
		if err := t.master.SetReadDeadline(deadline); err != nil {
			test.Fatal(err)
		}
		n, err := t.master.Read(buffer)
		if err != nil {
			test.Fatalf("no %q: %v; there was %q", mark, err, t.left)
		}
		t.left += string(buffer[:n])
	}
}
