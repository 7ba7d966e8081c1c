package main

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seamnet/seam/cni/wire"
)

func (c *cli) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the versions of the program and of the specification",
		Args:  noArguments,
		RunE: func(*cobra.Command, []string) error {
			plugins := slices.Sorted(maps.Keys(c.builtins))
			if c.flags.json {
				return c.printJSON(map[string]any{
					"version": version, "go": runtime.Version(), "plugins": plugins, "cniVersions": wire.SupportedVersions(),
				})
			}
			t := newTable("seam", version)
			t.row("go", runtime.Version())
			t.row("CNI", strings.Join(wire.SupportedVersions(), " "))
			t.row("plugins", strings.Join(plugins, " "))
			t.print(c.out)
			return nil
		},
	}
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return hint(usage("no argument is wanted, but there is %q", args[0]), "%s", fmt.Sprintf("%s --help", cmd.CommandPath()))
}
