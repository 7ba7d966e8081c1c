// Conformance writes docs/conformance.md: the list of all checks, and what comes of them
// for Seam's plugins, in process and executed, and for the reference plugins, all in one
// run on one machine.
//
// Interrupted, it writes what was found until then. With -checks-only it leaves the results as they are. It needs root, and the reference
// plugins in the folder SEAM_REFERENCE_PLUGINS.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/conformance"
	"github.com/seamnet/seam/conformance/drivers"
	"github.com/seamnet/seam/conformance/plugins"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/all"
)

func main() {
	conformance.Serve(conformance.Suites{plugins.SuiteName: plugins.Reopen(builtins), drivers.SuiteName: drivers.Reopen})
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
	parts := map[string]string{"checks": checkTables(plugins.All()), "driver checks": checkTables(drivers.All())}
	if !checksOnly {
		if err := measure(ctx, parts); err != nil {
			return err
		}
	}
	page := string(text)
	for _, part := range slices.Sorted(maps.Keys(parts)) {
		if page, err = replace(page, part, parts[part]); err != nil {
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

// measure carries out both suites and adds the parts of the page that tell what came of it.
func measure(ctx context.Context, parts map[string]string) error {
	reference := os.Getenv("SEAM_REFERENCE_PLUGINS")
	if reference == "" {
		return errors.New("set SEAM_REFERENCE_PLUGINS to the folder of the reference plugins, as make conformance does")
	}
	dir, err := os.MkdirTemp("", "seam-conformance-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := install(ctx, dir); err != nil {
		return err
	}
	ofDrivers, err := measureDrivers(ctx, dir)
	if err != nil {
		return err
	}
	parts["driver results"] = ofDrivers.String()
	ofPlugins, err := measurePlugins(ctx, dir, reference)
	if err != nil {
		return err
	}
	parts["results"] = ofPlugins.String()
	return nil
}

func measurePlugins(ctx context.Context, dir, reference string) (*results, error) {
	makes := []contender{{"Seam in process", true, ""}, {"Seam executed", false, dir}, {"reference v1.9.1", false, reference}}
	r := &results{row: "plugin", checks: plugins.All()}
	for _, c := range makes {
		r.contenders = append(r.contenders, c.name)
	}
	for _, pluginType := range types() {
		for _, c := range makes {
			report, err := c.try(ctx, pluginType)
			if ctx.Err() != nil { // what was found until now is worth writing
				return r, nil
			}
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("%s of %s: %w", pluginType, c.name, err)
			}
			r.add(pluginType, c.name, report)
		}
	}
	return r, nil
}

// measureDrivers tries seamd with networks of its own, and, if SEAM_DOCKER_DRIVERS names
// their folder, Docker's own macvlan driver and IPAM.
func measureDrivers(ctx context.Context, dir string) (*results, error) {
	targets := []struct {
		name   string
		target drivers.Target
	}{{"seamd", drivers.Target{
		Socket:  "{dir}/driver.sock",
		Command: []string{filepath.Join(dir, "seamd"), "docker", "--name", "conformance", "--socket", "{socket}", "--state-dir", "{dir}/state"},
	}}}
	if moby := os.Getenv("SEAM_DOCKER_DRIVERS"); moby != "" {
		targets = append(targets, struct {
			name   string
			target drivers.Target
		}{"Docker's macvlan and IPAM", drivers.Target{
			Socket: "{dir}/moby.sock", IPAMSocket: "{dir}/mobyipam.sock", Command: []string{filepath.Join(moby, "moby"), "{dir}"},
			Subnet: netip.MustParsePrefix("10.70.0.0/24"), NetworkOptions: map[string]string{"parent": drivers.Uplink},
		}})
	}
	r := &results{row: "level", checks: drivers.All()}
	for _, t := range targets {
		r.contenders = append(r.contenders, t.name)
		s, err := drivers.Suite(t.target, t.name)
		if err != nil {
			return nil, err
		}
		report, err := conformance.Run(ctx, s, conformance.Options{})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.name, err)
		}
		for _, l := range report.Levels() {
			r.add(string(l.Level), t.name, &l.Report)
		}
	}
	return r, nil
}

// install builds Seam and makes it stand under the names of its plugins.
func install(ctx context.Context, dir string) error {
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", dir, "github.com/seamnet/seam/cmd/seam", "github.com/seamnet/seam/cmd/seamd")
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
	conf, err := plugins.Network(pluginType, nil, false)
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
	return conformance.Run(ctx, s, conformance.Options{Match: asked(pluginType)})
}

// asked are the checks that are carried out: of speed, the growth and the crowd are docs/benchmarks.md's;
// where duplicate detection makes each ADD take seconds, and the level leaks half an hour, that is left out.
func asked(pluginType string) *regexp.Regexp {
	if slices.Contains([]string{"macvlan", "host-device", "tap"}, pluginType) {
		return regexp.MustCompile("^(protocol|kernel|network)/")
	}
	return regexp.MustCompile("^(protocol|kernel|network|leaks)/|^speed/(cycle|programs)$")
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
