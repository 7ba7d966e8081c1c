package main

import (
	"context"
	"errors"
	"os"
	"os/exec"

	"github.com/spf13/cobra"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/plan"
)

func (c *cli) planCommand() *cobra.Command {
	var f containerFlags
	var inside bool
	cmd := &cobra.Command{
		Use:   "plan NETWORK [NETNS]",
		Short: "Say what an add would do, without doing it (needs root)",
		Long: `Rehearse an add on a copy of this host, and say what each plugin of the network
would be given, what it would make, and what stands in the way. The copy is a process's
own: nothing on the host changes.

Arguments and flags are those of seam add; without NETNS the container's namespace is an
empty one. A plugin that is not built in is not executed, and wrap, dhcp and devices named
by their hardware cannot be rehearsed: what comes after is shown as it would be if they
changed nothing, or not at all. Exit code 1 says that the add would fail; a mere warning,
such as a range that overlaps a route, leaves it 0.`,
		Example: `  seam plan blue
  seam plan blue /run/netns/c1 --port 8080:80
  seam plan blue c1 --ip 10.1.0.7 --json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if inside || len(args) == 1 || len(args) == 2 {
				return nil
			}
			return hint(usage("a network is wanted, and a namespace if there is one; %d arguments were given", len(args)), "%s", cmd.UseLine())
		},
		ValidArgsFunction: c.completeNetworkAndNamespace,
		RunE: func(cmd *cobra.Command, args []string) error {
			if inside {
				return c.rehearse(cmd.Context())
			}
			return c.planAttachment(cmd.Context(), &f, args)
		},
	}
	f.identity(cmd)
	f.wishes(cmd, toAdd)
	cmd.Flags().BoolVar(&inside, "inside", false, "")
	if err := cmd.Flags().MarkHidden("inside"); err != nil {
		panic(err) // the flag is the line above
	}
	return cmd
}

// rehearse answers the process that started this one in namespaces of its own.
func (c *cli) rehearse(ctx context.Context) error {
	stage := &plan.Stage{Host: c.host, Plugins: c.finder()}
	return stage.Answer(ctx, c.in, c.out)
}

func (c *cli) planAttachment(ctx context.Context, f *containerFlags, args []string) error {
	n, err := c.network(args[0])
	if err != nil {
		return err
	}
	con, err := c.planned(n, f, args[1:])
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return hint(os.ErrPermission, "sudo seam plan: making network namespaces is for root")
	}
	stop := c.progress("rehearsing how %s of %s is attached to %s", con.IfName, con.ID, n.Name)
	p, err := plan.Ask(c.again(ctx), plan.Question{
		Network: n, Container: con, ConfDir: c.flags.confDir, CacheDir: c.flags.cacheDirs[0], Timeout: c.flags.timeout,
	})
	stop()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return c.missingPlugin(n, err)
	}
	if c.flags.json {
		err = c.printJSON(p)
	} else {
		planTree(p).print(c.out)
	}
	if err == nil && !p.Works() {
		return &failure{errSaid, exitFailed, ""}
	}
	return err
}

// planned returns the container that is meant: its namespace, if one is named, must be there.
func (c *cli) planned(n *seam.Network, f *containerFlags, namespace []string) (seam.Container, error) {
	if len(namespace) == 0 && f.id == "" {
		f.id = "CONTAINER"
	}
	con, err := c.container(n, f, namespace)
	if untaken, ok := errors.AsType[*seam.UntakenError](err); ok {
		return con, hint(cni.Errorf(cni.CodeInvalidConfig, "%w", err), "%s", untaken.Hint())
	}
	if err == nil && con.NetNS != "" {
		err = mustBeNamespace(con.NetNS)
	}
	return con, err
}

// again is this program, to rehearse until ctx ends.
func (c *cli) again(ctx context.Context) *exec.Cmd {
	args := []string{"plan", "--inside"}
	for _, dir := range c.flags.pluginDirs {
		args = append(args, "--plugin-dir", dir)
	}
	cmd := exec.CommandContext(ctx, c.self, args...)
	cmd.Args[0] = "seam"
	cmd.Stderr = c.err
	return cmd
}
