package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seamnet/seam/netns/scratch"
	"golang.org/x/sys/unix"
)

// DefaultTimeout is what a check has unless told otherwise.
const DefaultTimeout = 2 * time.Minute

// ErrNoCheck is of options that leave nothing to carry out.
var ErrNoCheck = errors.New("conformance: no check of that level or ID is for this target")

// Options say which checks are carried out, and how.
type Options struct {
	Levels   []Level        // empty: all
	Match    *regexp.Regexp // of IDs; nil: all
	Timeout  time.Duration  // of each check; 0: DefaultTimeout
	Parallel int            // checks at a time but for those of Speed; 0: one per processor

	// Progress is called, by one goroutine at a time, when a check begins, with a Finding
	// without an outcome, and when it ends; nil: not.
	Progress func(f Finding, done, all int)
}

// order is what a process that is to be a host reads from stdin.
type order struct {
	Suite  string
	Target json.RawMessage
	Check  string
}

// variable marks a process that Run started.
const variable = "SEAM_CONFORMANCE_CHECK"

// Run carries out the checks of the suite and returns what came out. The error is only of
// what keeps it from beginning. When ctx ends, the report has what was found until then.
func Run(ctx context.Context, s Suite, o Options) (*Report, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("conformance: making network namespaces is for root: %w", os.ErrPermission)
	}
	target, err := json.Marshal(s.Target)
	if err != nil {
		return nil, fmt.Errorf("conformance: target: %w", err)
	}
	checks := slices.DeleteFunc(slices.Clone(s.Checks), func(c Check) bool { return !o.wants(c) })
	if len(checks) == 0 {
		return nil, ErrNoCheck
	}
	r := &runner{suite: s, target: target, options: o, all: len(checks)}
	report := &Report{Suite: s.Name, Target: s.Title, Kernel: kernel(), Started: time.Now()}
	report.Findings = r.run(ctx, checks)
	report.Seconds = time.Since(report.Started).Seconds()
	return report, nil
}

func (o *Options) wants(c Check) bool {
	return (len(o.Levels) == 0 || slices.Contains(o.Levels, c.Level())) && (o.Match == nil || o.Match.MatchString(c.ID))
}

type runner struct {
	suite   Suite
	target  json.RawMessage
	options Options
	all     int

	mu   sync.Mutex
	done int
}

// run carries out what is measured alone, after all else.
func (r *runner) run(ctx context.Context, checks []Check) []Finding {
	found := make([]Finding, len(checks))
	var alone, together []int
	for i, c := range checks {
		if c.Level() == Speed {
			alone = append(alone, i)
		} else {
			together = append(together, i)
		}
	}
	workers := r.options.Parallel
	if workers <= 0 {
		workers = runtime.NumCPU()
	}
	if r.suite.Here {
		workers = 1
	}
	r.work(ctx, workers, together, checks, found)
	r.work(ctx, 1, alone, checks, found)
	return slices.DeleteFunc(found, func(f Finding) bool { return f.ID == "" }) // not begun when ctx ended
}

func (r *runner) work(ctx context.Context, workers int, todo []int, checks []Check, found []Finding) {
	next := make(chan int)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for i := range next {
				if ctx.Err() == nil {
					found[i] = r.one(ctx, checks[i])
				}
			}
		})
	}
	for _, i := range todo {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	group.Wait()
}

func (r *runner) progress(f Finding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.Outcome != "" {
		r.done++
	}
	if r.options.Progress != nil {
		r.options.Progress(f, r.done, r.all)
	}
}

func (r *runner) one(ctx context.Context, c Check) Finding {
	blank := Finding{ID: c.ID, Force: c.Force, Says: c.Says, Source: c.Source}
	r.progress(blank)
	f, err := r.apart(ctx, c)
	if err != nil {
		f = blank
		f.Outcome, f.Notes = Broken, []string{err.Error()}
	}
	f.Repeat = strings.TrimSpace(r.suite.Repeat + " --check " + c.ID)
	r.progress(f)
	return f
}

// apart carries out a check in a process of its own.
func (r *runner) apart(ctx context.Context, c Check) (Finding, error) {
	timeout := r.options.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("took longer than %v", timeout))
	defer cancel()
	input, err := json.Marshal(order{r.suite.Name, r.target, c.ID})
	if err != nil {
		return Finding{}, err
	}
	var out, said bytes.Buffer
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), variable+"="+r.suite.Name)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, &limited{&said, 16 << 10}
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) } // it ends what it started
	if r.suite.Here {
		cmd.WaitDelay = 10 * time.Second // it cleans up
		cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	} else {
		cmd.WaitDelay = 2 * time.Second
		scratch.Isolate(cmd)
	}
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return Finding{}, fmt.Errorf("%w%s", err, strings.TrimRight("\n"+said.String(), "\n"))
	}
	var f Finding
	if err := json.Unmarshal(out.Bytes(), &f); err != nil {
		return f, fmt.Errorf("no finding: %w\n%s%s", err, &out, &said)
	}
	if text := strings.TrimSpace(said.String()); text != "" {
		f.Notes = append(f.Notes, "on stderr: "+text)
	}
	return f, nil
}

// limited drops what is too much.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(b []byte) (int, error) {
	n, _ := l.w.Write(b[:min(len(b), l.left)])
	l.left -= n
	return len(b), nil
}

func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
}
