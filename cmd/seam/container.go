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

// containerFlagNames are the names of all these flags.
var containerFlagNames = []string{"id", "ifname", "port", "ip", "mac", "bandwidth", "args", "cap"}

// A wishHelp is what --help says of the flags of wishes.
type wishHelp struct{ port, ip, mac, bandwidth, args, cap string }

var (
	toAdd = wishHelp{
		port:      "publish a port: `[HOSTIP:]HOST:CONTAINER[/PROTOCOL]` (repeatable)",
		ip:        "`address` that the container is to have (repeatable)",
		mac:       "hardware `address` that the interface is to have",
		bandwidth: "`limits` in bits/s: ingress=10M,egress=5M[,ingress-burst=…,egress-burst=…]",
		args:      "`KEY=VALUE` for the plugins (repeatable) [$CNI_ARGS]",
		cap:       "value of a capability, `NAME=JSON` (repeatable) [$CAP_ARGS]",
	}
	// What was added is on record: these say it only to plugins that need to be told
	// otherwise.
	asAdded = wishHelp{
		port:      "port that was published, `[HOSTIP:]HOST:CONTAINER[/PROTOCOL]`; default: those on record (repeatable)",
		ip:        "`address` that was asked for; default: those on record (repeatable)",
		mac:       "hardware `address` that was asked for; default: that on record",
		bandwidth: "`limits` that were asked for; default: those on record",
		args:      "`KEY=VALUE` that add gave to the plugins; default: those on record (repeatable) [$CNI_ARGS]",
		cap:       "value of a capability that add gave, `NAME=JSON`; default: those on record (repeatable) [$CAP_ARGS]",
	}
)

// wishes adds the flags that say what the attachment is to have, or was to have.
func (f *containerFlags) wishes(cmd *cobra.Command, help wishHelp) {
	fl := cmd.Flags()
	fl.StringArrayVarP(&f.ports, "port", "p", nil, help.port)
	fl.StringArrayVar(&f.ips, "ip", nil, help.ip)
	fl.StringVar(&f.mac, "mac", "", help.mac)
	fl.StringVar(&f.bandwidth, "bandwidth", "", help.bandwidth)
	fl.StringArrayVar(&f.args, "args", nil, help.args)
	fl.StringArrayVar(&f.caps, "cap", nil, help.cap)
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
		con.ID, con.Name = derivedID(con.NetNS), namespaceName(con.NetNS)
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
