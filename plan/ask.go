package plan

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/netns/scratch"
)

// An answer is what the process that rehearses says.
type answer struct {
	Plan  *Plan    `json:"plan,omitempty"`
	Error *Refusal `json:"error,omitempty"`
}

// Ask has the command, which must call Answer with its standard input and output, rehearse in
// namespaces of its own. Only root may. It sets all that the command has but its arguments
// and standard error.
func Ask(cmd *exec.Cmd, q Question) (*Plan, error) {
	host, err := netns.Current()
	if err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	defer host.Close()
	q.Host = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), host.Fd())
	input, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	cmd.Stdin = bytes.NewReader(input)
	scratch.Isolate(cmd)
	out, err := cmd.Output()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		return nil, fmt.Errorf("plan: start the rehearsal: %w", err)
	}
	var a answer
	if decodeErr := json.Unmarshal(out, &a); decodeErr != nil {
		return nil, fmt.Errorf("plan: the rehearsal did not end: %w", errors.Join(err, decodeErr))
	}
	if a.Error != nil {
		e := cni.Errorf(a.Error.Code, "plan: %s", a.Error.Msg)
		e.Details = a.Error.Details
		return nil, e
	}
	return a.Plan, nil
}

// Answer rehearses what it reads and writes the plan. It changes the namespaces of the whole
// process, and is for one that Ask started.
func (s *Stage) Answer(ctx context.Context, in io.Reader, out io.Writer) error {
	var a answer
	var q Question
	err := json.NewDecoder(in).Decode(&q)
	if err == nil {
		a.Plan, err = s.rehearse(ctx, q)
	}
	if err != nil {
		a.Plan, a.Error = nil, refusal(err)
	}
	return json.NewEncoder(out).Encode(a)
}

func refusal(err error) *Refusal {
	r := &Refusal{Code: cni.CodeOf(err), Msg: err.Error()}
	if e, ok := errors.AsType[*cni.Error](err); ok && e.Details != "" {
		r.Details = e.Details
		r.Msg = string(bytes.Replace([]byte(r.Msg), []byte("; "+e.Details), nil, 1))
	}
	return r
}
