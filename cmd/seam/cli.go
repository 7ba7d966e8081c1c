package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/plugin"
)

// newestVersion labels what is printed when no network's version is known.
const newestVersion = "1.1.0"

// A cli is one call of the command line: all that it takes from the process.
type cli struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
	self     string // a path of this program's file
	host     *plugin.Host
	builtins cni.Registry

	flags flags
	spec  string // version of the specification, in which errors are printed
	trace *trace // nil unless --trace
}

// flags are those that every command knows.
type flags struct {
	confDir    string
	pluginDirs []string
	cacheDirs  []string
	timeout    time.Duration
	json       bool
	trace      bool
}

const about = `Seam attaches containers to networks that CNI describes.

A network is a file NAME.conflist in /etc/cni/net.d. Each container is a network
namespace: a path, a name in /run/netns, or a process ID.`

const examples = `  seam validate examples/ports.conflist       is the file right?
  seam add blue /run/netns/c1 --port 8080:80  attach c1 to the network "blue"
  seam ls                                     what is there
  seam show c1                                one attachment explained
  seam ls --watch                             what passes, live
  seam graph -o host.svg                      a picture of it all
  seam del blue /run/netns/c1                 detach it
  seam demo                                   see it all work, away from this host`

// execute runs the command line and returns its exit code.
func (c *cli) execute(ctx context.Context, args []string) exitCode {
	out := &output{to: c.out}
	c.out = out
	root := c.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if c.trace != nil {
		c.trace.print(c.err)
	}
	if err == nil && out.err != nil {
		err = &failure{fmt.Errorf("done, but what it prints is lost: %w", out.err), exitUnwritten, ""}
		return c.fail(cmd.CommandPath(), false, err)
	}
	if err == nil {
		return exitDone
	}
	if cmd == root {
		err = hint(usage("%v", err), "seam help lists the commands")
	}
	return c.fail(cmd.CommandPath(), cmd.Annotations[specObject] != "" || c.flags.json, err)
}

// specObject marks commands whose errors are also the specification's objects.
const specObject = "specObject"

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use: "seam", Long: about, Example: examples,
		SilenceErrors: true, SilenceUsage: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("no command %q", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if c.flags.trace {
				c.trace = &trace{}
			}
			if err := cmd.ValidateFlagGroups(); err != nil {
				return hint(usage("%v", err), "%s --help lists the flags", cmd.CommandPath())
			}
			return nil
		},
	}
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	c.persistentFlags(root)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return hint(usage("%v", err), "%s --help lists the flags", cmd.CommandPath())
	})
	root.AddGroup(&cobra.Group{ID: "work", Title: "Attachments:"}, &cobra.Group{ID: "look", Title: "Looking:"},
		&cobra.Group{ID: "tool", Title: "Files and program:"})
	for group, list := range map[string][]*cobra.Command{
		"work": {c.addCommand(), c.delCommand(), c.checkCommand(), c.gcCommand(), c.statusCommand(), c.hookCommand()},
		"look": {c.lsCommand(), c.showCommand(), c.packetCommand(), c.graphCommand(), c.planCommand(), c.demoCommand()},
		"tool": {c.validateCommand(), c.conformCommand(), c.installCommand(), c.uninstallCommand(), c.dhcpCommand(), c.versionCommand()},
	} {
		for _, cmd := range list {
			cmd.GroupID = group
			root.AddCommand(cmd)
		}
	}
	root.AddCommand(topics()...)
	strictHelp(root)
	strictCompletion(root)
	return root
}

func (c *cli) persistentFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.SortFlags = false
	f.StringVar(&c.flags.confDir, "conf-dir", c.envOr("NETCONFPATH", "/etc/cni/net.d"), "`folder` of the networks' files [$NETCONFPATH]")
	f.StringSliceVar(&c.flags.pluginDirs, "plugin-dir", c.pluginPath(), "`folder` of plugin programs, searched in order (repeatable) [$CNI_PATH]")
	f.StringSliceVar(&c.flags.cacheDirs, "cache-dir", []string{seam.DefaultCacheDir}, "`folder` of what is attached; further ones are only read (repeatable)")
	f.DurationVar(&c.flags.timeout, "timeout", seam.DefaultTimeout, "longest `time` of one plugin's call")
	f.BoolVar(&c.flags.json, "json", false, "print JSON")
	f.BoolVar(&c.flags.trace, "trace", false, "print the chain of plugins as a tree with times, on standard error")
}

func (c *cli) envOr(name, otherwise string) string {
	if v := c.getenv(name); v != "" {
		return v
	}
	return otherwise
}
