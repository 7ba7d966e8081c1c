package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (c *cli) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "status NETWORK",
		Short:             "Say whether a network can take containers now",
		Long:              "Ask every plugin of the network, and those that give addresses, whether it could serve an add now.",
		Example:           "  seam status blue && echo ready",
		Annotations:       map[string]string{specObject: "yes"},
		Args:              oneNetwork,
		ValidArgsFunction: c.completeNetwork,
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := c.network(args[0])
			if err != nil {
				return err
			}
			defer c.progress("asking the plugins of %s", n.Name)()
			if err := c.runtime().Status(cmd.Context(), n); err != nil {
				return err
			}
			if c.flags.json {
				return c.printJSON(map[string]string{"network": n.Name, "status": "ready"})
			}
			_, err = fmt.Fprintf(c.err, "network %s is ready\n", n.Name)
			return err
		},
	}
}

// oneNetwork is the argument of commands that work on a network. A namespace after
// it, which cnitool demands, is passed over.
func oneNetwork(cmd *cobra.Command, args []string) error {
	if len(args) == 1 || len(args) == 2 {
		return nil
	}
	return hint(usage("one network is wanted, %d arguments were given", len(args)), "%s", cmd.UseLine())
}
