// Command kernels runs tests of this module under another Linux kernel: one of
// Debian's, with all its modules, in QEMU, for what the running kernel lacks.
//
//	go run ./hack/kernels [-kernel 6.12] [-run regexp] [packages]
//
// The virtual machine sees this machine's files, read-only, under a tmpfs; so it has
// the same programs, and what tests write is gone with it. It has no way to any
// network. It emulates the processor, because KVM inside a virtual machine often does
// not run stock kernels: computing is 2 times slower than outside, system calls are
// 30 times, and starting a program takes long. It is not for benchmarks.
//
// To look around inside: -shell. To see what a test printed: -v. This program is also the
// machine's PID 1 (inside.go), so that there is nothing else to build.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	if os.Getpid() == 1 {
		inside()
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "kernels:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("kernels", flag.ContinueOnError)
	series := flags.String("kernel", "", "kernel series, 6.12 say (default: the first of "+strings.Join(kernels, ", ")+" that apt has)")
	only := flags.String("run", "", "regular expression: run only tests whose names match, of all packages")
	timeout := flags.Duration("timeout", 15*time.Minute, "when to give up on the machine")
	verbose := flags.Bool("v", false, "print all that the tests print")
	shell := flags.Bool("shell", false, "run a shell in the machine, no tests")
	if err := flags.Parse(args); err != nil {
		return err
	}
	root, err := projectRoot(ctx)
	if err != nil {
		return err
	}
	cache := filepath.Join(root, ".cache", "kernels")
	if err := lock(cache); err != nil {
		return err
	}
	image, err := findImage(ctx, cache, *series)
	if err != nil {
		return err
	}
	m := machine{Image: image, Cache: cache}
	if *shell {
		return m.shell(ctx, plan{Env: environment(), Shell: root})
	}
	built := filepath.Join(cache, "tests")
	runs, err := build(ctx, root, built, selected(flags.Args(), *only))
	if err == nil {
		err = buildProgram(ctx, root, built)
	}
	if err != nil {
		return err
	}
	env := append(environment(), "SEAM_PROGRAM="+filepath.Join(built, programName))
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	return m.boot(ctx, plan{Env: env, Runs: runs}, os.Stdout, *verbose)
}

// lock keeps others from the cache until this program ends.
func lock(cache string) error {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	dir, err := syscall.Open(cache, syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", cache, err)
	}
	if err := syscall.Flock(dir, syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("%s: another hack/kernels is at work there", cache)
	}
	return nil
}

func projectRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find the module's folder: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// environment returns what the tests find in theirs: some of this one's, and which
// network cards they may move.
func environment() []string {
	env := []string{"SEAM_TEST_PCI=" + pciNIC, "SEAM_TEST_PCI_VIRTIO=" + virtioNIC}
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if name == "PATH" || name == "HOME" || strings.HasPrefix(name, "SEAM_") {
			env = append(env, v)
		}
	}
	return env
}
