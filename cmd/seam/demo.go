package main

import (
	"context"
	"errors"
	"os"
	"os/exec"

	"github.com/spf13/cobra"

	"github.com/seamnet/seam/cmd/seam/demo"
	"github.com/seamnet/seam/cmd/seam/multicall"
	"github.com/seamnet/seam/netns/scratch"
)

func (c *cli) demoCommand() *cobra.Command {
	var inside bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See it all work, away from this host (needs root)",
		Long: `Attach containers to networks in namespaces that this command makes for itself:
addresses, connections between containers, the host and a neighbour network, a
published port, a script that wraps a plugin; then draw what exists and remove it.
This host's own links, rules and files are not touched.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if inside {
				return c.demoHere(cmd.Context())
			}
			return c.demoApart()
		},
	}
	cmd.Flags().BoolVar(&inside, "inside", false, "")
	if err := cmd.Flags().MarkHidden("inside"); err != nil {
		panic(err) // the flag is the line above
	}
	return cmd
}

// demoHere runs the demonstration in this process's namespaces.
func (c *cli) demoHere(ctx context.Context) error {
	show := demo.Show{Out: c.out, Self: c.self, Host: c.host, Builtins: c.builtins}
	show.Install = func(dir string) error {
		return multicall.Folder{Dir: dir}.Install(c.self, c.pluginNames())
	}
	return show.Run(ctx)
}

// demoApart runs the demonstration as a process in namespaces of its own, because a
// program's threads cannot change theirs together.
func (c *cli) demoApart() error {
	if os.Geteuid() != 0 {
		return hint(os.ErrPermission, "sudo seam demo: making network namespaces is for root")
	}
	again := exec.Command(c.self, "demo", "--inside")
	again.Args[0] = "seam"
	again.Stdout, again.Stderr = c.out, c.err
	scratch.Isolate(again)
	err := again.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); ok {
		return &failure{errSaid, exitFailed, ""}
	}
	return err
}
