// Conformance writes docs/conformance.md: the list of all checks, and what comes of them
// for Seam's plugins, in process and executed, and for the reference plugins, all in one
// run on one machine.
//
// With -checks-only it leaves the results as they are. It needs root, and the reference
// plugins in the folder SEAM_REFERENCE_PLUGINS.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/conformance"
	"github.com/seamnet/seam/conformance/plugins"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/all"
)

func main() {
	conformance.Serve(conformance.Suites{plugins.SuiteName: plugins.Reopen(builtins)})
	page := flag.String("page", "docs/conformance.md", "the `file` to write")
	checksOnly := flag.Bool("checks-only", false, "write the list of checks only")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *page, *checksOnly); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

func builtins() cni.Registry { return all.Registry(plugin.NewHost(plugin.DefaultDirs)) }

func run(ctx context.Context, file string, checksOnly bool) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	page := string(text)
	if page, err = replace(page, "checks", checkTables()); err != nil {
		return err
	}
	if !checksOnly {
		results, err := measure(ctx)
		if err != nil {
			return err
		}
		if page, err = replace(page, "results", results.String()); err != nil {
			return err
		}
	}
	return os.WriteFile(file, []byte(page), 0o644)
}

// A contender is one make of the plugins.
type contender struct {
	name    string
	builtin bool
	dir     string // of its programs
}

// types are the plugins that are tried, and those that have no peer.
func types() []string {
	return []string{"bridge", "ptp", "macvlan", "ipvlan", "vlan", "host-device", "tap", "dummy", "loopback",
		"host-local", "static", "portmap", "bandwidth", "tuning", "firewall", "sbr", "vrf", "masquerade", "wrap"}
}

func measure(ctx context.Context) (*results, error) {
	reference := os.Getenv("SEAM_REFERENCE_PLUGINS")
	if reference == "" {
		return nil, errors.New("set SEAM_REFERENCE_PLUGINS to the folder of the reference plugins, as make conformance does")
	}
	dir, err := os.MkdirTemp("", "seam-conformance-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := install(ctx, dir); err != nil {
		return nil, err
	}
	r := &results{contenders: []contender{{"Seam in process", true, ""}, {"Seam executed", false, dir}, {"reference v1.9.1", false, reference}}}
	for _, pluginType := range types() {
		for _, c := range r.contenders {
			report, err := c.try(ctx, pluginType)
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("%s of %s: %w", pluginType, c.name, err)
			}
			r.add(pluginType, c.name, report)
			fmt.Fprintf(os.Stderr, "%-12s %-17s %s\n", pluginType, c.name, counts(report))
		}
	}
	return r, ctx.Err()
}

// install builds Seam and makes it stand under the names of its plugins.
func install(ctx context.Context, dir string) error {
	program := filepath.Join(dir, "seam")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "github.com/seamnet/seam/cmd/seam")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("go build: %w", err)
	}
	for _, name := range types() {
		if err := os.Symlink("seam", filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

func (c contender) try(ctx context.Context, pluginType string) (*conformance.Report, error) {
	conf, err := plugins.Network(pluginType, nil)
	if err != nil {
		return nil, err
	}
	target := plugins.Target{Config: conf, Trial: []string{pluginType}, Builtin: c.builtin}
	if !c.builtin {
		file := filepath.Join(c.dir, pluginType)
		if _, err := os.Stat(file); err != nil {
			return nil, err
		}
		target.Programs, target.Dirs = map[string]string{pluginType: file}, []string{c.dir}
	}
	s, err := plugins.Suite(target, pluginType, builtins)
	if err != nil {
		return nil, err
	}
	return conformance.Run(ctx, s, conformance.Options{})
}

// counts is a report in a cell of a table.
func counts(r *conformance.Report) string {
	if r.Count(conformance.Skipped) == len(r.Findings) {
		return "not on this kernel"
	}
	text := fmt.Sprintf("%d ✓", r.Count(conformance.Passed))
	for _, o := range []conformance.Outcome{conformance.Failed, conformance.Lacking, conformance.Differs, conformance.Broken} {
		if n := r.Count(o); n > 0 {
			text += fmt.Sprintf(", %d %s", n, o)
		}
	}
	return text
}

func isUnmet(f conformance.Finding) bool {
	return slices.Contains([]conformance.Outcome{conformance.Failed, conformance.Lacking, conformance.Differs, conformance.Broken}, f.Outcome)
}
