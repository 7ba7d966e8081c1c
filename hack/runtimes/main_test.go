// Package runtimes starts the programs that run containers (containerd, Podman,
// cnitool) with Seam's plugins under them, and asks over real sockets whether
// containers are reached and reach others. Each test has a node of its own: no
// container, process, mount or link of the machine is seen from it, and it ends with
// the test.
//
// It is not about plugins' results, which package differential compares. To look
// into a node while its test runs: nsenter -a -t PID, with the PID of a program in it.
package runtimes

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// programsKey is the variable that says in which folder the programs are that TestMain
// built: seam, seamd and cnitool.
const programsKey = "SEAM_TEST_PROGRAMS"

// TestMain builds the programs once for all tests. This binary is also a node's init,
// and the plugin that keeps a record of its calls.
func TestMain(m *testing.M) {
	switch {
	case filepath.Base(os.Args[0]) == witnessName:
		os.Exit(serveWitness())
	case os.Getpid() == 1:
		os.Exit(initNode())
	case os.Getenv(programsKey) != "": // a test's own process
		os.Exit(m.Run())
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "seam-runtimes-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = errors.Join(os.Setenv(programsKey, dir),
			build(dir, "github.com/seamnet/seam/cmd/seam"),
			build(dir, "github.com/seamnet/seam/cmd/seamd"),
			build(dir, "github.com/containernetworking/cni/cnitool"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func build(dir, program string) error {
	cmd := exec.Command("go", "build", "-o", dir, program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", program, err, out)
	}
	return nil
}

// built returns the path of a program that TestMain built.
func built(name string) string { return filepath.Join(os.Getenv(programsKey), name) }
