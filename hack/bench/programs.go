package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/seamnet/seam/conformance/plugins"
)

// programs returns the names of the programs that one ADD and one DEL execute, as
// strace sees them; nil without strace.
func (h *inside) programs(ctx context.Context, p *pod) (map[string][]string, error) {
	strace, err := exec.LookPath("strace")
	if errors.Is(err, exec.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	found := make(map[string][]string)
	for _, verb := range []string{"ADD", "DEL"} {
		if found[verb], err = h.traced(ctx, strace, verb); err != nil {
			return nil, fmt.Errorf("strace of %s of %s: %w", verb, p.id(), err)
		}
	}
	return found, nil
}

func (h *inside) traced(ctx context.Context, strace, verb string) ([]string, error) {
	once := h.Host
	once.Call = verb
	conf, err := json.Marshal(once)
	if err != nil {
		return nil, err
	}
	log := filepath.Join("/run", "execve-"+verb)
	cmd := exec.CommandContext(ctx, strace, "-f", "-qq", "-e", "trace=execve", "-e", "signal=none", "-o", log, "/proc/self/exe")
	if cmd.Args[len(cmd.Args)-1], err = os.Executable(); err != nil {
		return nil, err
	}
	cmd.Env = append(os.Environ(), insideVariable+"="+string(conf))
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		return nil, errors.Join(err, fmt.Errorf("%s", out))
	}
	text, err := os.ReadFile(log)
	if err != nil {
		return nil, err
	}
	names := plugins.ReadExecve(string(text))
	return names[min(1, len(names)):], nil // the first is the caller itself
}

// call makes the one call that strace looks at, in a host that another process
// prepared.
func (h *inside) call(ctx context.Context) error {
	p, err := openPod(firstMeasured)
	if err != nil {
		return err
	}
	if h.Contender == floorName {
		model, err := openPod(modelNumber)
		if err != nil {
			return err
		}
		h.contender, err = newFloor(h.Host, model, h.parts)
		if err != nil {
			return err
		}
	} else if h.contender, err = h.newContender(h.Contender); err != nil {
		return err
	}
	if h.Call == "DEL" {
		return h.contender.del(ctx, p)
	}
	return h.contender.add(ctx, p)
}

// startPrograms executes the bridge plugin for nothing but its version: what is paid
// before any work is done.
func startPrograms(ctx context.Context, binDir string, count int) ([]Cost, error) {
	var costs []Cost
	for range count {
		cmd := exec.CommandContext(ctx, filepath.Join(binDir, "bridge"))
		cmd.Env = []string{"CNI_COMMAND=VERSION"}
		cmd.Stdin = strings.NewReader(`{"cniVersion":"1.0.0"}`)
		c, err := measure(func() error { _, err := cmd.Output(); return err })
		if err != nil {
			return nil, err
		}
		costs = append(costs, c)
	}
	return costs, nil
}
