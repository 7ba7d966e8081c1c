package main

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/conformance"
	"github.com/seamnet/seam/conformance/plugins"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/all"
)

// conformFlags are those of seam conform.
type conformFlags struct {
	config, pluginType string
	builtin, chained   bool
	strict             bool
	pluginDirs         []string // those of --plugin-dir, if it was given
	levels             []string
	check              string
	parallel           int
	each               time.Duration
	html, junit        string
	verbose, list      bool
}

func (c *cli) conformCommand() *cobra.Command {
	var f conformFlags
	var driver driverFlags
	cmd := &cobra.Command{
		Use:   "conform TARGET [-- COMMAND...]",
		Short: "Try whether a plugin, a network or a driver does what is asked of it (needs root)",
		Long: `Carry out the checks of the conformance suite. Each runs on a host of its own, made of
namespaces: this host's links, rules and files are not touched.

TARGET is a plugin's program or script; the type of a plugin in the plugin path or built
in; or the file or the name of a network, all of whose plugins are on trial.

Or it is the socket of a driver of Docker's, network driver, IPAM driver or both. If the
command that starts the driver stands behind --, it is started anew for each check, on a
host of its own: {dir} in the command stands for a folder that it has for itself, {socket}
for where it is to listen, by default {dir}/driver.sock. Without a command the driver that
runs is tried on this host, one check at a time, and what was made is removed.`,
		Example: `  seam conform /opt/cni/bin/bridge
  seam conform ./my-plugin --config my-plugin.json --level protocol,kernel
  seam conform ./my-limiter --config my-limiter.json --chained
  seam conform bridge --builtin
  seam conform /etc/cni/net.d/prod.conflist --check 'leaks/.*'
  seam conform /run/docker/plugins/seam.sock
  seam conform --driver -- seamd docker --name trial --socket {socket} --state-dir {dir}/state`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 && !(f.list && len(args) == 0) && !driver.means(cmd, args) {
				return hint(usage("one target is wanted"), "%s --help says what it may be", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.list {
				return c.listChecks()
			}
			if driver.means(cmd, args) {
				return c.conformDriver(cmd, args, f, driver)
			}
			if cmd.Flags().Changed("plugin-dir") {
				f.pluginDirs = c.flags.pluginDirs
			}
			return c.conform(cmd.Context(), args[0], f)
		},
	}
	f.add(cmd)
	driver.add(cmd)
	offer(cmd, "type", c.pluginNames()...)
	return cmd
}

func (f *conformFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.config, "config", "", "`file` with the plugin's object as it stands in a network's \"plugins\"")
	flags.StringVar(&f.pluginType, "type", "", "`type` of the plugin (default: that in --config, or the program's name); of a network: the plugin on trial")
	flags.BoolVar(&f.chained, "chained", false, "the plugin works on what another one made: try it behind a bridge")
	flags.BoolVar(&f.builtin, "builtin", false, "run what is built in in process, whatever is in the plugin path")
	flags.StringSliceVar(&f.levels, "level", nil, "carry out the checks of these `levels` only: protocol, kernel, network, leaks, speed")
	flags.StringVar(&f.check, "check", "", "carry out the checks whose whole ID this `expression` matches only")
	flags.StringVar(&f.html, "html", "", "write the report to this `file`, too, as a page")
	flags.StringVar(&f.junit, "junit", "", "write the report to this `file`, too, as JUnit's XML")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "list the checks that passed, too")
	flags.BoolVar(&f.list, "list", false, "list the checks for plugins, and carry out none")
	flags.BoolVar(&f.strict, "strict", false, "end with exit code 3 for what should be, too")
	flags.IntVar(&f.parallel, "parallel", 0, "`checks` at a time (default: one per processor)")
	flags.DurationVar(&f.each, "check-timeout", conformance.DefaultTimeout, "longest `time` of one check")
	var levels []string
	for _, l := range conformance.Levels() {
		levels = append(levels, string(l))
	}
	offer(cmd, "level", levels...)
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
	suite.Repeat = f.repeat(arg)
	report, err := c.runSuite(ctx, suite, options)
	if err != nil {
		return err
	}
	return c.report(ctx, report, f)
}

// runSuite says on standard error how far it is.
func (c *cli) runSuite(ctx context.Context, suite conformance.Suite, options conformance.Options) (*conformance.Report, error) {
	p := &conformProgress{w: c.err, terminal: isTerminal(c.err), quiet: c.flags.json && !isTerminal(c.err)}
	options.Progress = p.show
	defer p.end()
	report, err := conformance.Run(ctx, suite, options)
	if errors.Is(err, conformance.ErrNoCheck) {
		return nil, hint(usage("%v", err), "seam conform --list")
	}
	return report, err
}

// repeat returns the command that tests this target.
func (f *conformFlags) repeat(arg string) string {
	words := []string{"seam conform", arg}
	for _, flag := range []struct{ name, value string }{{"--config", f.config}, {"--type", f.pluginType}} {
		if flag.value != "" {
			words = append(words, flag.name, flag.value)
		}
	}
	for _, flag := range []struct {
		name string
		set  bool
	}{{"--builtin", f.builtin}, {"--chained", f.chained}} {
		if flag.set {
			words = append(words, flag.name)
		}
	}
	for _, dir := range f.pluginDirs {
		words = append(words, "--plugin-dir", dir)
	}
	return strings.Join(words, " ")
}

func (f *conformFlags) options() (conformance.Options, error) {
	o := conformance.Options{Timeout: f.each, Parallel: f.parallel}
	for _, l := range f.levels {
		if !slices.Contains(conformance.Levels(), conformance.Level(l)) {
			return o, usage("--level %s: the levels are %v", l, conformance.Levels())
		}
		o.Levels = append(o.Levels, conformance.Level(l))
	}
	if f.check != "" {
		match, err := regexp.Compile("^(?:" + f.check + ")$")
		if err != nil {
			return o, usage("--check %s: %v", f.check, err)
		}
		o.Match = match
	}
	return o, nil
}
