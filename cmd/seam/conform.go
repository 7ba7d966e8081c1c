package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/conformance"
	"github.com/seamnet/seam/conformance/plugins"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/all"
)

// conformFlags are those of seam conform.
type conformFlags struct {
	config, pluginType string
	builtin, strict    bool
	levels             []string
	check              string
	parallel           int
	each               time.Duration
}

func (c *cli) conformCommand() *cobra.Command {
	var f conformFlags
	cmd := &cobra.Command{
		Use:   "conform TARGET",
		Short: "Try whether a plugin, a network or a driver does what is asked of it (needs root)",
		Long: `Carry out the checks of the conformance suite. Each runs on a host of its own, made of
namespaces: this host's links, rules and files are not touched.

TARGET is a plugin's program or script; the type of a plugin in the plugin path or built
in; or the file or the name of a network, all of whose plugins are on trial.`,
		Example: `  seam conform /opt/cni/bin/bridge
  seam conform ./my-plugin --config my-plugin.json --level protocol,kernel
  seam conform bridge --builtin
  seam conform /etc/cni/net.d/prod.conflist --check 'leaks/.*'`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return hint(usage("one target is wanted"), "%s --help says what it may be", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return c.conform(cmd.Context(), args[0], f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.config, "config", "", "`file` with the plugin's object as it stands in a network's \"plugins\"")
	flags.StringVar(&f.pluginType, "type", "", "`type` of the plugin (default: the program's name)")
	flags.BoolVar(&f.builtin, "builtin", false, "run what is built in in process, whatever is in the plugin path")
	flags.StringSliceVar(&f.levels, "level", nil, "carry out the checks of these `levels` only: protocol, kernel, network, leaks, speed")
	flags.StringVar(&f.check, "check", "", "carry out the checks whose whole ID this `expression` matches only")
	flags.BoolVar(&f.strict, "strict", false, "end with exit code 3 for what should be, too")
	flags.IntVar(&f.parallel, "parallel", 0, "`checks` at a time (default: one per processor)")
	flags.DurationVar(&f.each, "check-timeout", conformance.DefaultTimeout, "longest `time` of one check")
	return cmd
}

// suites are those that this program can carry out.
func suites() conformance.Suites {
	return conformance.Suites{plugins.SuiteName: plugins.Reopen(suiteBuiltins)}
}

// suiteBuiltins are made on the host of a check, as the first links are looked at there.
func suiteBuiltins() cni.Registry { return all.Registry(plugin.NewHost(plugin.DefaultDirs)) }

func (c *cli) conform(ctx context.Context, arg string, f conformFlags) error {
	options, err := f.options()
	if err != nil {
		return err
	}
	target, err := c.conformTarget(arg, f)
	if err != nil {
		return err
	}
	suite, err := plugins.Suite(target, arg, suiteBuiltins)
	if err != nil {
		return usage("%s: %v", arg, err)
	}
	suite.Repeat = "seam conform " + arg
	options.Progress = func(f conformance.Finding, done, all int) {
		if f.Outcome != "" {
			fmt.Fprintf(c.err, "%3d/%d %-8s %s\n", done, all, f.Outcome, f.ID)
		}
	}
	report, err := conformance.Run(ctx, suite, options)
	if err != nil {
		return err
	}
	if err := c.printReport(report); err != nil || report.OK(f.strict) {
		return err
	}
	return &failure{errSaid, exitDiffers, ""}
}

func (f *conformFlags) options() (conformance.Options, error) {
	o := conformance.Options{Timeout: f.each, Parallel: f.parallel}
	for _, l := range f.levels {
		o.Levels = append(o.Levels, conformance.Level(l))
	}
	if f.check != "" {
		match, err := regexp.Compile("^(?:" + f.check + ")$")
		if err != nil {
			return o, usage("--check: %v", err)
		}
		o.Match = match
	}
	return o, nil
}

// conformTarget finds out what is meant: a file, a network of this host, or a plugin's type.
func (c *cli) conformTarget(arg string, f conformFlags) (plugins.Target, error) {
	target := plugins.Target{Dirs: c.flags.pluginDirs, Builtin: f.builtin}
	helper, err := filepath.EvalSymlinks(c.self)
	if err != nil {
		return target, err
	}
	target.Helper = helper
	switch st, err := os.Stat(arg); {
	case err == nil && isNetworkFile(arg):
		n, err := seam.LoadFile(arg)
		if err != nil {
			return target, err
		}
		target.Config, err = conflistOf(n)
		return target, err
	case err == nil && st.Mode().IsRegular() && strings.ContainsRune(arg, filepath.Separator):
		return c.conformProgram(target, arg, f)
	}
	return c.conformType(target, arg, f)
}

// conflistOf returns the network as one list, with the plugins of its drop-in folder.
func conflistOf(n *seam.Network) (json.RawMessage, error) {
	list := struct {
		CNIVersion string            `json:"cniVersion"`
		Name       string            `json:"name"`
		Plugins    []json.RawMessage `json:"plugins"`
	}{CNIVersion: n.Version, Name: n.Name}
	for _, p := range n.Plugins {
		list.Plugins = append(list.Plugins, p.JSON)
	}
	return json.Marshal(list)
}

func isNetworkFile(name string) bool {
	ext := filepath.Ext(name)
	return ext == ".conflist" || ext == ".conf" || ext == ".json"
}

func (c *cli) conformProgram(target plugins.Target, file string, f conformFlags) (plugins.Target, error) {
	pluginType := orElse(f.pluginType, filepath.Base(file))
	abs, err := filepath.Abs(file)
	if err != nil {
		return target, err
	}
	target.Programs = map[string]string{pluginType: abs}
	target.Dirs = append([]string{filepath.Dir(abs)}, target.Dirs...)
	return c.conformType(target, pluginType, f)
}

func (c *cli) conformType(target plugins.Target, pluginType string, f conformFlags) (plugins.Target, error) {
	var conf json.RawMessage
	if f.config != "" {
		text, err := c.read(f.config)
		if err != nil {
			return target, err
		}
		conf = text
	}
	var err error
	if n, loadErr := seam.Load(c.flags.confDir, pluginType); loadErr == nil && conf == nil && target.Programs == nil {
		target.Config, err = conflistOf(n)
		return target, err
	} else if !errors.Is(loadErr, fs.ErrNotExist) && loadErr != nil {
		return target, loadErr
	}
	target.Trial = []string{pluginType}
	if target.Config, err = plugins.Network(pluginType, conf); err != nil {
		return target, hint(usage("%v", err), "seam conform TARGET --config FILE")
	}
	return target, nil
}

func (c *cli) printReport(r *conformance.Report) error {
	if c.flags.json {
		return c.printJSON(r)
	}
	t := newTable("CHECK", "OUTCOME", "TIME", "NOTES")
	for _, f := range r.Findings {
		t.row(f.ID, string(f.Outcome), duration(time.Duration(f.Seconds*float64(time.Second))), strings.ReplaceAll(strings.Join(f.Notes, "; "), "\n", " "))
	}
	t.print(c.out)
	return nil
}
