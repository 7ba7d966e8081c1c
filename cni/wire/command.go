package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/span"
)

const (
	longestOutput = 1 << 20 // bytes of stdout that are taken
	longestTail   = 4 << 10 // bytes of stderr that are kept for an error's details

	// grace is what a program has between SIGTERM, on which a plugin of Seam's rolls
	// back, and SIGKILL; and what is waited for output after it ended, when it left
	// something running that still holds its stdout.
	grace = 2 * time.Second

	busyRetries = 5
	busySleep   = 10 * time.Millisecond // before the first retry, then four times as long each
)

// A Command is one run of a program that speaks, or is only told of, the protocol.
type Command struct {
	Argv   []string // the program's file, which must hold a slash, and its arguments
	Env    []string // as os.Environ returns it
	Stdin  []byte
	Stderr io.Writer // gets stderr as it is written; nil: nobody
}

// NewCommand returns a command that is told of a request as a plugin is, parameters
// in the environment and Input on stdin. The search path and stderr are those of
// the Path among the request's Plugins.
func NewCommand(verb string, r *cni.Request, argv ...string) (Command, error) {
	path := pathOf(r.Plugins)
	input, err := Input(verb, r)
	if err != nil {
		return Command{}, err
	}
	return Command{Argv: argv, Env: paramsOf(verb, r, path.list()).environ(), Stdin: input, Stderr: path.Stderr}, nil
}

// Run executes the command to its end and returns what it wrote to stdout, at most
// 1 MiB. At the end of ctx its process group gets SIGTERM and, two seconds later,
// SIGKILL; the error then has ctx's cause. If it fails by itself, the error is a
// *cni.Error as DecodeError makes it. A file that is just being written ("text file
// busy") is tried again for some seconds. The program is told ctx's place in a trace, if it
// has one, by TRACEPARENT, TRACESTATE and BAGGAGE.
func (c Command) Run(ctx context.Context) (stdout []byte, err error) {
	for sleep, i := busySleep, 0; ; sleep, i = 4*sleep, i+1 {
		stdout, err = c.runOnce(ctx)
		if i == busyRetries || !errors.Is(err, syscall.ETXTBSY) {
			return stdout, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(sleep):
		}
	}
}

func (c Command) runOnce(ctx context.Context) ([]byte, error) {
	stdout, stderr := &head{limit: longestOutput}, &tail{limit: longestTail, next: c.Stderr}
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = span.Environ(ctx, c.Env), bytes.NewReader(c.Stdin), stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return signalGroup(cmd.Process, syscall.SIGTERM) }
	cmd.WaitDelay = grace
	if err := cmd.Start(); err != nil {
		return nil, c.describeStart(err)
	}
	err := cmd.Wait()
	if cause := context.Cause(ctx); cause != nil && err != nil {
		_ = signalGroup(cmd.Process, syscall.SIGKILL) // what outlived its leader
		return nil, cni.Errorf(cni.CodeInternal, "%s: stopped: %w", c.Argv[0], cause).WithDetails("%s", said(stderr.Bytes()))
	}
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return nil, c.describeExit(stdout.kept, stderr.Bytes(), err)
	}
	if stdout.cut {
		return nil, cni.Errorf(cni.CodeDecoding, "%s: wrote more than %d bytes to stdout", c.Argv[0], longestOutput)
	}
	return stdout.kept, nil
}

func signalGroup(p *os.Process, s syscall.Signal) error {
	if err := syscall.Kill(-p.Pid, s); err != nil {
		return os.ErrProcessDone
	}
	return nil
}

// describeExit leaves a program's own error object as it is, and names the program
// in what is said about it.
func (c Command) describeExit(stdout, stderr []byte, exit error) error {
	if e := decodeError(stdout); e != nil {
		return e
	}
	e, _ := errors.AsType[*cni.Error](DecodeError(stdout, stderr, exit))
	return cni.Errorf(e.Code, "%s: %s", c.Argv[0], e.Msg).WithDetails("%s", e.Details)
}

func (c Command) describeStart(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = path.Err
	}
	e := cni.Errorf(cni.CodeInternal, "execute %s: %w", c.Argv[0], err)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return e.WithDetails("make it executable: chmod +x %s", c.Argv[0])
	case errors.Is(err, fs.ErrNotExist):
		return e.WithDetails("the file is missing, or the interpreter that its first line names")
	case errors.Is(err, syscall.ENOEXEC):
		return e.WithDetails("it is no program for this machine; a script begins with #! and its interpreter")
	}
	return e
}

// head keeps the first bytes written to it and drops the rest, so that the writer
// is not held up.
type head struct {
	limit int
	kept  []byte
	cut   bool
}

func (h *head) Write(b []byte) (int, error) {
	taken := b[:min(len(b), h.limit-len(h.kept))]
	h.kept = append(h.kept, taken...)
	h.cut = h.cut || len(taken) < len(b)
	return len(b), nil
}

// tail passes on what is written to it and keeps the last bytes.
type tail struct {
	limit int
	next  io.Writer
	kept  []byte
	lost  bool
}

func (t *tail) Write(b []byte) (int, error) {
	if t.next != nil {
		_, _ = t.next.Write(b) // a log that is full must not fail the call
	}
	t.kept = append(t.kept, b...)
	if over := len(t.kept) - t.limit; over > 0 {
		t.kept, t.lost = append(t.kept[:0], t.kept[over:]...), true
	}
	return len(b), nil
}

func (t *tail) Bytes() []byte {
	if t.lost {
		return append([]byte("…"), t.kept...)
	}
	return t.kept
}
