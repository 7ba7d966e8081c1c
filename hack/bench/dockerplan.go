package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A DockerPlan says what is measured of Docker, and how often.
type DockerPlan struct {
	Engines []dockerEngine // the first is judged by the aims

	Rounds   int // in each, every network has its turn
	Pairs    int // of connect and disconnect in a turn
	Crowd    int // containers at once
	Crowds   int // rounds of them
	Commands int // rounds of the command line, and of published ports without the proxy

	Progress io.Writer
}

func fullDockerPlan() DockerPlan {
	return DockerPlan{Rounds: 20, Pairs: 5, Crowd: 50, Crowds: 3, Commands: 8}
}

// quickDockerPlan shows that all of it works, and measures nothing that counts.
func quickDockerPlan() DockerPlan {
	return DockerPlan{Rounds: 1, Pairs: 1, Crowd: 2, Crowds: 1, Commands: 1}
}

// A dockerEngine is a version of Docker's daemon with what belongs to it.
type dockerEngine struct {
	Name                  string
	Daemon, Client, Proxy string // programs
	Flags                 []string
}

// dockerEngines returns the engines that are here, the newest first: Debian's, and those
// that "make engines" builds. If names are given, with commas between, only those.
func dockerEngines(names string) ([]dockerEngine, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	in := func(name string) string { return filepath.Join(cache, "seam", "engines", name) }
	old := []string{"--feature", "containerd-snapshotter=false"} // Debian's containerd is older than the engine
	all := []dockerEngine{
		{"29", in("dockerd-29"), in("docker-28.5.2"), in("docker-proxy-29"), append(slices.Clone(old), "--feature", "time-namespaces=false")},
		{"28.5.2", in("dockerd-28.5.2"), in("docker-28.5.2"), in("docker-proxy-28.5.2"), old},
		{"20.10", "/usr/sbin/dockerd", "/usr/bin/docker", "/usr/sbin/docker-proxy", nil},
	}
	all = slices.DeleteFunc(all, func(e dockerEngine) bool {
		return names != "" && !slices.Contains(strings.Split(names, ","), e.Name) || slices.ContainsFunc([]string{e.Daemon, e.Client, e.Proxy}, func(program string) bool {
			_, err := os.Stat(program)
			return err != nil
		})
	})
	if len(all) == 0 {
		return nil, errors.New("no Docker engine: apt's docker.io or \"make engines\" brings one")
	}
	return all, nil
}

// benchDocker builds Seam and carries out the plan.
func benchDocker(ctx context.Context, plan DockerPlan) (*DockerFigures, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("needs root: makes namespaces")
	}
	start := time.Now()
	dir, err := os.MkdirTemp("", "seam-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	for _, name := range []string{"seam", "seamd"} {
		if err := buildProgram(ctx, filepath.Join(dir, name), "cmd/"+name); err != nil {
			return nil, err
		}
	}
	f := &DockerFigures{Plan: plan}
	plan.Engines, plan.Progress = nil, nil
	for i, engine := range f.Plan.Engines {
		for _, proxy := range []bool{true, false} {
			if i > 0 && !proxy {
				continue
			}
			if err := f.measureNode(ctx, DockerNode{Engine: engine, Proxy: proxy, Programs: dir, Plan: plan}); err != nil {
				return nil, fmt.Errorf("docker %s: %w", engine.Name, err)
			}
		}
	}
	f.Took = time.Since(start)
	return f, nil
}

// measureNode starts this program again as a node, and takes what it reports.
func (f *DockerFigures) measureNode(ctx context.Context, n DockerNode) (err error) {
	n.Cgroup = fmt.Sprintf("/seam-bench-%d", os.Getpid())
	conf, err := json.Marshal(n)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), nodeVariable+"="+string(conf))
	cmd.Stderr = f.Plan.Progress
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	defer func() { err = errors.Join(err, removeCgroups(n.Cgroup)) }()
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("node: %w", err)
	}
	var report DockerReport
	if err := json.Unmarshal(out, &report); err != nil {
		return fmt.Errorf("node: report: %w", err)
	}
	if report.Error != "" {
		return errors.New(report.Error)
	}
	f.Samples = append(f.Samples, report.Samples...)
	f.Calls = append(f.Calls, report.Calls...)
	return nil
}

// removeCgroups removes the control groups that containers of a node had, in all
// hierarchies.
func removeCgroups(name string) error {
	var tops []string
	for _, pattern := range []string{"", "*"} {
		found, err := filepath.Glob(filepath.Join("/sys/fs/cgroup", pattern, name))
		if err != nil {
			return err
		}
		tops = append(tops, found...)
	}
	var errs []error
	for _, top := range tops {
		errs = append(errs, removeTree(top))
	}
	return errors.Join(errs...)
}

// removeTree removes a control group and those below it. What was in it is dying.
func removeTree(dir string) error {
	below, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range below {
		if entry.IsDir() {
			if err := removeTree(filepath.Join(dir, entry.Name())); err != nil {
				return err
			}
		}
	}
	for range 100 {
		if err = unix.Rmdir(dir); err == nil || errors.Is(err, os.ErrNotExist) {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return &os.PathError{Op: "rmdir", Path: dir, Err: err}
}
