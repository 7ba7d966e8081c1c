package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seamnet/seam/cmd/seam/multicall"
)

type installFlags struct {
	binDir string
	names  []string
	keep   bool
	brief  bool // say nothing of names that are not there
}

// folder adds the flags that install and uninstall share.
func (f *installFlags) folder(c *cli, cmd *cobra.Command, names []string) {
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVar(&f.binDir, "bin-dir", defaultPluginDirs[0], "`folder` in which runtimes look for plugins")
	cmd.Flags().StringSliceVar(&f.names, "names", names, "`plugins`, by name")
	if err := cmd.RegisterFlagCompletionFunc("names", c.completePlugins); err != nil {
		panic(err) // the flag is the line above
	}
}

// daemonPlugin is the plugin that the program seamd is, when it is called so.
const daemonPlugin = "cnm"

func (c *cli) pluginNames() []string {
	return slices.Sorted(maps.Keys(c.builtins))
}

// installNames are the names of all plugins that can be installed from here.
func (c *cli) installNames() []string {
	names := c.pluginNames()
	if c.daemon() != "" {
		names = append(names, daemonPlugin)
	}
	return names
}

// daemon returns the path of seamd if it is beside this program; empty: it is not.
func (c *cli) daemon() string {
	own, err := filepath.EvalSymlinks(c.self)
	if err != nil {
		return ""
	}
	path := filepath.Join(filepath.Dir(own), "seamd")
	if st, err := os.Stat(path); err != nil || !st.Mode().IsRegular() {
		return ""
	}
	return path
}

func (c *cli) installCommand() *cobra.Command {
	var f installFlags
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Put the plugins where runtimes look for them",
		Long: `Make every plugin's name in a folder this program, which is that plugin when it is
called so. Each name changes in one step, so that plugins may run meanwhile, and
what is called again changes nothing.

A program of another project under such a name is kept beside it as
NAME.before-seam; seam uninstall puts it back. With --keep-foreign it stays.

The plugin cnm is the program seamd: it is installed if that is beside this one.

To replace one of the names yourself, use mv or install(1): cp would write into the
one file that all names are.`,
		Example: `  seam install --bin-dir /opt/cni/bin
  seam install --names portmap,masquerade`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return c.install(&f) },
	}
	f.folder(c, cmd, c.installNames())
	cmd.Flags().BoolVar(&f.keep, "keep-foreign", false, "leave other projects' programs of these names alone")
	return cmd
}

func (c *cli) uninstallCommand() *cobra.Command {
	var f installFlags
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Take the plugins away, and put back what was there before",
		Long: `Take the plugins' names out of a folder where they are this program, in this build
or another, and put back what seam install kept as NAME.before-seam. Programs of
other projects are left alone.

Containers stay attached. Their runtime detaches them with the programs that are in
the folder then: networks that use plugins which only Seam has need them until the
last container is detached.`,
		Example: `  seam uninstall --bin-dir /opt/cni/bin
  seam uninstall --names portmap,masquerade`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.brief = !cmd.Flags().Changed("names")
			return c.uninstall(&f)
		},
	}
	f.folder(c, cmd, append(c.pluginNames(), daemonPlugin))
	return cmd
}

func (c *cli) install(f *installFlags) error {
	if err := checkPluginNames(f.names, c.installNames()); err != nil {
		return err
	}
	own := slices.DeleteFunc(slices.Clone(f.names), func(name string) bool { return name == daemonPlugin })
	return c.change(f, func(to multicall.Folder) error {
		err := to.Install(c.self, own)
		if err == nil && len(own) < len(f.names) {
			err = to.Install(c.daemon(), []string{daemonPlugin})
		}
		return err
	})
}

func (c *cli) uninstall(f *installFlags) error {
	if err := checkPluginNames(f.names, append(c.pluginNames(), daemonPlugin)); err != nil {
		return err
	}
	return c.change(f, func(to multicall.Folder) error { return to.Remove(f.names) })
}

func checkPluginNames(names, known []string) error {
	for _, name := range names {
		if !slices.Contains(known, name) {
			return hint(usage("--names: there is no plugin %q", name), "there are %s", strings.Join(known, ", "))
		}
	}
	return nil
}

// change does something to a folder and prints what became of each name.
func (c *cli) change(f *installFlags, do func(multicall.Folder) error) error {
	defer c.progress("writing to %s", f.binDir)()
	changes := []multicall.Change{}
	err := do(multicall.Folder{Dir: f.binDir, KeepForeign: f.keep, Report: func(ch multicall.Change) {
		if f.brief && ch.Outcome == multicall.Absent {
			return
		}
		changes = append(changes, ch)
		if !c.flags.json {
			fmt.Fprintln(c.out, changeText(f.binDir, ch))
		}
	}})
	switch {
	case c.flags.json:
		return errors.Join(err, c.printJSON(changes))
	case err == nil && len(changes) == 0:
		fmt.Fprintf(c.err, "no plugin of Seam's is in %s\n", f.binDir)
	}
	return err
}

func changeText(dir string, ch multicall.Change) string {
	text := fmt.Sprintf("%-10s %s/%s", ch.Outcome, strings.TrimSuffix(dir, "/"), ch.Name)
	if ch.Backup != "" {
		text += "  (before: " + ch.Backup + ")"
	}
	return text
}
