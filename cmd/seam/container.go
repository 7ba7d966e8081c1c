package main

import (
	"github.com/spf13/cobra"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
)

// containerFlags say which container is meant and, to add, what it is to have.
type containerFlags struct {
	id, ifName string
	args       []string
	ports      []string
	ips        []string
	mac        string
	bandwidth  string
	caps       []string
}

// identity adds the flags that say which attachment is meant.
func (f *containerFlags) identity(cmd *cobra.Command) {
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVar(&f.id, "id", "", "container's `ID` (default: cnitool's, made of the namespace's path)")
	cmd.Flags().StringVarP(&f.ifName, "ifname", "i", "", "interface's `name` in the container (default eth0) [$CNI_IFNAME]")
}

// wishes adds the flags that say what the attachment is to have.
func (f *containerFlags) wishes(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringArrayVarP(&f.ports, "port", "p", nil, "publish a port: `[HOSTIP:]HOST:CONTAINER[/PROTOCOL]` (repeatable)")
	fl.StringArrayVar(&f.ips, "ip", nil, "`address` that the container is to have (repeatable)")
	fl.StringVar(&f.mac, "mac", "", "hardware `address` that the interface is to have")
	fl.StringVar(&f.bandwidth, "bandwidth", "", "`limits` in bits/s: ingress=10M,egress=5M[,ingress-burst=…,egress-burst=…]")
	fl.StringArrayVar(&f.args, "args", nil, "`KEY=VALUE` for the plugins (repeatable) [$CNI_ARGS]")
	fl.StringArrayVar(&f.caps, "cap", nil, "value of a capability, `NAME=JSON` (repeatable) [$CAP_ARGS]")
}

// container returns the container that arguments, flags and environment name.
// Without a namespace, which only a detachment allows, the ID must be given.
func (c *cli) container(n *seam.Network, f *containerFlags, namespace []string) (seam.Container, error) {
	var con seam.Container
	var err error
	if err = f.validate(); err != nil {
		return con, err
	}
	if len(namespace) > 0 {
		if con.NetNS, err = namespacePath(namespace[0]); err != nil {
			return con, err
		}
	}
	con.ID = f.id
	if con.ID == "" {
		con.ID = derivedID(con.NetNS)
	}
	con.IfName = orElse(f.ifName, c.envOr("CNI_IFNAME", "eth0"))
	if err := cni.CheckContainerID(con.ID); err != nil {
		return con, err
	}
	if err := cni.CheckIfName(con.IfName); err != nil {
		return con, err
	}
	con.Args, con.Capabilities, err = f.express(c.getenv, n)
	return con, err
}

// networkAndNamespace is the arguments of the commands that work on an attachment.
func networkAndNamespace(cmd *cobra.Command, args []string) error {
	if len(args) == 2 {
		return nil
	}
	return hint(usage("a network and a namespace are wanted, %d arguments were given", len(args)), "%s", cmd.UseLine())
}
