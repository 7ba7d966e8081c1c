package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/seamnet/seam"
)

func (c *cli) delCommand() *cobra.Command {
	var f containerFlags
	cmd := &cobra.Command{
		Use:   "del NETWORK [NETNS]",
		Short: "Detach a container from a network",
		Long: `Detach a container from a network: its interface, addresses, routes, rules and
leases go. What is gone already, the namespace included, is no error. With --id
the namespace may be left out.`,
		Example: `  seam del blue /run/netns/c1
  seam del blue --id web`,
		Annotations:       map[string]string{specObject: "yes"},
		ValidArgsFunction: c.completeNetworkAndNamespace,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && f.id != "" {
				return nil
			}
			return networkAndNamespace(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error { return c.del(cmd, &f, args) },
	}
	f.identity(cmd)
	f.wishes(cmd, asAdded)
	return cmd
}

func (c *cli) del(cmd *cobra.Command, f *containerFlags, args []string) error {
	n, err := c.knownNetwork(args[0])
	if err != nil {
		return err
	}
	con, err := c.container(n, f, args[1:])
	if err != nil {
		return err
	}
	defer c.progress("detaching %s of %s from %s", con.IfName, con.ID, n.Name)()
	err = c.runtime().Detach(cmd.Context(), n, con)
	if err == nil {
		c.sayOthers(n.Name, con)
	}
	return hint(err, "seam del again when the cause is gone, or seam gc %s", n.Name)
}

// sayOthers tells of what is still attached to the network in the same namespace, by
// another ID or interface: to detach nothing is no error, and may not be what was meant.
func (c *cli) sayOthers(network string, con seam.Container) {
	if con.NetNS == "" {
		return
	}
	records, _ := c.records() // it is only a remark
	for _, r := range records {
		if r.Network == network && r.NetNS == con.NetNS {
			fmt.Fprintf(c.err, "seam del: still there: %s of %s on %s (seam del %s --id %s --ifname %s)\n", r.IfName, con.NetNS, network, network, r.ContainerID, r.IfName)
		}
	}
}
