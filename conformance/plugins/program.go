package plugins

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
)

// patience is what a call of a plugin has.
const patience = 30 * time.Second

// A program is a plugin that can be called.
type program struct {
	file    string     // executed; empty: in process
	builtin cni.Plugin // in process
	finder  func(dirs []string) cni.Finder
}

// A call is one run of a plugin.
type call struct {
	Verb, ContainerID, NetNS, IfName, Args, Path string

	Env   []string // further variables, which win
	Unset []string // variables that are left out
	Stdin []byte
}

// environ returns the variables. Those without a value are set, and empty, as runtimes do.
func (c *call) environ() []string {
	var env []string
	for _, v := range []struct{ name, value string }{
		{"CNI_COMMAND", c.Verb}, {"CNI_CONTAINERID", c.ContainerID}, {"CNI_NETNS", c.NetNS},
		{"CNI_IFNAME", c.IfName}, {"CNI_ARGS", c.Args}, {"CNI_PATH", c.Path},
		{"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
	} {
		env = append(env, v.name+"="+v.value)
	}
	env = append(env, c.Env...)
	for _, name := range c.Unset {
		env = deleteVariable(env, name)
	}
	return env
}

func deleteVariable(env []string, name string) []string {
	var kept []string
	for _, v := range env {
		if !strings.HasPrefix(v, name+"=") {
			kept = append(kept, v)
		}
	}
	return kept
}

// An answer is what a plugin printed, and how it ended.
type answer struct {
	Stdout, Stderr string
	Exit           int   // -1: it was killed, or took too long
	Hung           error // it was killed because it took too long
	Took           time.Duration
}

// run calls the plugin. The error is only of what kept it from starting.
func (p *program) run(ctx context.Context, c call) (answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no answer for %v", patience))
	defer cancel()
	var stdout, stderr printed
	start := time.Now()
	if p.file == "" {
		exit := wire.Serve(ctx, p.builtin, wire.Call{
			Env: c.environ(), Stdin: bytes.NewReader(c.Stdin), Stdout: &stdout, Stderr: &stderr, Plugins: p.finder, About: "in process",
		})
		return answer{Stdout: stdout.String(), Stderr: stderr.String(), Exit: exit, Took: time.Since(start)}, nil
	}
	cmd := p.command(ctx, c)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	a := answer{Stdout: stdout.String(), Stderr: stderr.String(), Took: time.Since(start)}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		a.Exit, err = exit.ExitCode(), nil
	}
	if ctx.Err() != nil {
		a.Exit, a.Hung, err = -1, context.Cause(ctx), nil
	}
	if errors.Is(err, exec.ErrWaitDelay) { // something that it left holds its stdout
		err = nil
	}
	return a, err
}

// mostPrinted is what is kept of a plugin's stdout, and of its stderr: more than any result
// has, and less than what would harm this machine.
const mostPrinted = 4 << 20

// printed keeps what a plugin prints, and drops what is too much.
type printed struct{ text bytes.Buffer }

func (p *printed) Write(b []byte) (int, error) {
	p.text.Write(b[:min(len(b), mostPrinted-p.text.Len())])
	return len(b), nil
}

func (p *printed) String() string { return p.text.String() }

// command returns the plugin's command, not yet started. Killed, it is killed with all
// that it started in its process group.
func (p *program) command(ctx context.Context, c call) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.file)
	cmd.Env, cmd.Stdin = c.environ(), bytes.NewReader(c.Stdin)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	return cmd
}

// An errorObject is the specification's, as it was printed.
type errorObject struct {
	CNIVersion *string `json:"cniVersion"`
	Code       *uint   `json:"code"`
	Msg        *string `json:"msg"`
	Details    string  `json:"details"`
}

// object returns the error object that the plugin printed, or why there is none.
func (a *answer) object() (errorObject, error) {
	var o errorObject
	if a.Exit == 0 {
		return o, errors.New("it ended with 0")
	}
	if err := json.Unmarshal([]byte(a.Stdout), &o); err != nil {
		return o, fmt.Errorf("stdout is no error object: %w", err)
	}
	if o.Code == nil || o.Msg == nil {
		return o, errors.New("an error object needs code and msg")
	}
	return o, nil
}

// err returns nil if the plugin succeeded, else what it said, with its code if it gave one.
func (a *answer) err() error {
	if a.Hung != nil {
		return a.Hung
	}
	if a.Exit == 0 {
		return nil
	}
	if o, err := a.object(); err == nil {
		return cni.Errorf(cni.Code(*o.Code), "%s", strings.TrimSpace(*o.Msg+" "+o.Details))
	}
	return fmt.Errorf("ended with %d: %.600s", a.Exit, strings.TrimSpace(a.Stdout+a.Stderr))
}

// String is the answer for a note.
func (a answer) String() string {
	text := fmt.Sprintf("exit %d", a.Exit)
	if a.Hung != nil {
		text = a.Hung.Error()
	}
	for _, s := range []struct{ name, text string }{{"stdout", a.Stdout}, {"stderr", a.Stderr}} {
		if s.text = strings.TrimSpace(s.text); s.text != "" {
			text += fmt.Sprintf(", %s: %.600s", s.name, s.text)
		}
	}
	return text
}
