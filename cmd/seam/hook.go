package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/oci"
)

// stages are the hooks of the runtime specification that Seam can be.
var stages = map[string]func(*oci.Hook, context.Context, *oci.State) error{
	"createRuntime": (*oci.Hook).CreateRuntime,
	"prestart":      (*oci.Hook).CreateRuntime,
	"poststop":      (*oci.Hook).Poststop,
}

func (c *cli) hookCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "hook createRuntime|poststop",
		Short: "Be the hook of an OCI runtime: runc, crun, Podman, Docker",
		Long: `Be the hook of an OCI runtime. As createRuntime it attaches the container to the
networks that its annotations name; as poststop it detaches it from them. The
container's state is read from standard input. A container without an annotation of
Seam's is left alone. For runtimes of old, prestart is the same as createRuntime.

  seam.network       NETWORK[:INTERFACE][,...]; interfaces: eth0, eth1, ... by place
  seam.ports         [HOSTIP:]HOSTPORT:PORT[/PROTOCOL][,...]
  seam.ip            ADDRESS[/LENGTH][,...]
  seam.mac           ADDRESS
  seam.bandwidth     ingress=RATE,egress=RATE[,ingress-burst=BITS,egress-burst=BITS]
  seam.args          KEY=VALUE[;...] for the plugins
  seam.capabilities  JSON object of other capabilities' values

All but seam.network are of the first network. With an interface behind them, as in
seam.ip.eth1, they are of the network that is joined by it.`,
		Example: `  in a bundle's config.json:
  "annotations": {"seam.network": "prod", "seam.ports": "8080:80"},
  "hooks": {
    "createRuntime": [{"path": "/usr/local/bin/seam", "args": ["seam", "hook", "createRuntime"]}],
    "poststop":      [{"path": "/usr/local/bin/seam", "args": ["seam", "hook", "poststop"]}]
  }`,
		ValidArgs: []string{"createRuntime", "poststop"},
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && stages[args[0]] != nil {
				return nil
			}
			return hint(usage("which hook is it? %q is none of createRuntime, prestart, poststop", strings.Join(args, " ")), "%s", cmd.UseLine())
		},
		RunE: func(cmd *cobra.Command, args []string) error { return c.beHook(cmd.Context(), args[0]) },
	}
}

// beHook says on one line what went wrong: container runtimes show it inside a
// message of their own.
func (c *cli) beHook(ctx context.Context, stage string) error {
	s, err := oci.ReadState(c.in)
	if err != nil {
		return hint(usage("%v", err), "the container runtime calls this")
	}
	if err := stages[stage](c.hook(), ctx, s); err != nil {
		return &failure{err: fmt.Errorf("container %s: %s", s.ID, oneLine(err.Error())), exit: c.exitOfHook(stage, s, err)}
	}
	return nil
}

// exitOfHook tells networks that are not there or broken, for which a container is
// refused before anything is touched, as every other command does.
func (c *cli) exitOfHook(stage string, s *oci.State, err error) exitCode {
	if stage == "poststop" {
		return exitOf(err)
	}
	joins, _ := oci.Joins(s.Annotations) // if they are wrong, err says so
	for _, j := range joins {
		if _, err := c.network(j.Network); err != nil {
			return exitOf(err)
		}
	}
	return exitOf(err)
}

func (c *cli) hook() *oci.Hook {
	return &oci.Hook{Runtime: c.runtime(), ConfDir: c.flags.confDir, Notes: c.notes()}
}

// notes is the folder of the hook's notes, beside the runtime's journal.
func (c *cli) notes() string {
	if dir := c.flags.cacheDirs[0]; filepath.Clean(dir) != seam.DefaultCacheDir {
		return filepath.Join(dir, "seam", "oci")
	}
	return filepath.Join(seam.DefaultRunDir, "oci")
}
