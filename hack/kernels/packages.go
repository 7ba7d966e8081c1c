package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A choice is a package whose tests are to run, and which of them.
type choice struct {
	Package string
	Run     string // regular expression, "" for all
}

// defaults are the packages whose tests need what many kernels lack.
var defaults = []choice{
	{Package: "./link"},
	{Package: "./plugin/bridge"},
	{Package: "./plugin/ipvlan"},
	{Package: "./plugin/vlan"},
	{Package: "./plugin/dummy"},
	{Package: "./plugin/vrf"},
	{Package: "./plugin/hostdevice"},
	{Package: "./plugin/macvlan"},
	{Package: "./plugin/tuning"},
	{Package: "./plugin/sbr"},
	{Package: "./plugin/bandwidth"},
	{Package: "./nft"},
	{Package: "./plugin/portmap", Run: "^TestSCTP$"}, // the rest needs nothing rare
	{Package: "./plugin/tap"},
	{Package: "./plugin/all", Run: "/^(ipvlan|vlan|dummy|vrf)$"},
	{Package: "./hack/migration", Run: "/^(ipvlan|vlan|dummy)$"},
	{Package: "./plan", Run: "^(TestVLANsOfBridge|TestMasterThatIsTaken)$"},
	{Package: "./hack/leaks"},
}

// selected returns the choices for the command line's packages and -run.
func selected(packages []string, run string) []choice {
	var choices []choice
	for _, p := range packages {
		choices = append(choices, choice{Package: p, Run: run})
	}
	if len(packages) == 0 {
		choices = append(choices, defaults...)
		for i := range choices {
			if run != "" {
				choices[i].Run = run
			}
		}
	}
	return choices
}

// A testRun is a test binary to be executed.
type testRun struct {
	Package, Dir, Binary string
	Args                 []string
}

// buildProgram compiles Seam for the tests that execute it, which find it by the
// environment.
func buildProgram(ctx context.Context, root, dir string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", filepath.Join(dir, programName), "./cmd/seam")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build seam: %w\n%s", err, out)
	}
	return nil
}

const programName = "seam"

// build compiles the tests into dir. They are static: the machine starts those fastest.
func build(ctx context.Context, root, dir string, choices []choice) ([]testRun, error) {
	var runs []testRun
	for _, c := range choices {
		name := filepath.ToSlash(filepath.Clean(c.Package))
		folder := filepath.Join(root, name)
		tests, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
		if err != nil {
			return nil, err
		}
		if len(tests) == 0 {
			fmt.Printf("no tests in %s: left out\n", name)
			continue
		}
		binary := filepath.Join(dir, strings.ReplaceAll(name, "/", "-")+".test")
		cmd := exec.CommandContext(ctx, "go", "test", "-c", "-ldflags=-s -w", "-o", binary, "./"+name)
		cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build tests of %s: %w\n%s", name, err, out)
		}
		runs = append(runs, testRun{Package: name, Dir: folder, Binary: binary,
			Args: []string{"-test.v", "-test.short", "-test.timeout=5m", "-test.run=" + c.Run}})
	}
	return runs, nil
}
