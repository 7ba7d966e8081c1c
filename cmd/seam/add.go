package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
)

func (c *cli) addCommand() *cobra.Command {
	var f containerFlags
	cmd := &cobra.Command{
		Use:   "add NETWORK NETNS",
		Short: "Attach a container to a network",
		Long: `Attach a container to a network and print the result in the network's version.

NETNS is a path, a name in /run/netns, pid:N, or a process ID. If a plugin fails,
what was done is undone. Arguments and environment are those of cnitool.`,
		Example: `  seam add blue /run/netns/c1
  seam add blue c1 --port 8080:80 --port 127.0.0.1:5353:53/udp
  seam add blue pid:4711 --id web --ip 10.1.0.7 --trace
  seam add blue c1 --cap 'ipRanges=[[{"subnet":"10.9.0.0/24"}]]'`,
		Args:              networkAndNamespace,
		Annotations:       map[string]string{specObject: "yes"},
		ValidArgsFunction: c.completeNetworkAndNamespace,
		RunE:              func(cmd *cobra.Command, args []string) error { return c.add(cmd, &f, args) },
	}
	f.identity(cmd)
	f.wishes(cmd, toAdd)
	return cmd
}

func (c *cli) add(cmd *cobra.Command, f *containerFlags, args []string) error {
	n, err := c.network(args[0])
	if err != nil {
		return err
	}
	con, err := c.container(n, f, args[1:])
	if err != nil {
		return err
	}
	if err := mustBeNamespace(con.NetNS); err != nil {
		return err
	}
	defer c.progress("attaching %s of %s to %s", con.IfName, con.ID, n.Name)()
	result, err := c.runtime().Attach(cmd.Context(), n, con)
	if cni.CodeOf(err) == cni.CodeExists && con.IfName == "lo" {
		return hint(err, "every namespace has its own lo: choose another name with --ifname")
	}
	if err != nil {
		return c.missingPlugin(n, err)
	}
	data, err := wire.EncodeResult(result, n.Version)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "%s\n", indent(data))
	return err
}
