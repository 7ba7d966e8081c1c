package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
)

func (c *cli) showCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show CONTAINER [INTERFACE]",
		Short: "Explain an attachment",
		Long: `Explain what was made for a container, and what of it is there now: each plugin's
step with its time, links with their rates, addresses, routes and the rules that lead
to their tables, published ports and elements of the firewall. What the kernel does
not have any more is marked missing.

Rules in iptables and firewalld, and sysctls, are not shown; seam check asks for them,
too. CONTAINER is an ID, the beginning of one, a container's or a pod's name, or a
namespace.`,
		Example: `  seam show web
  seam show /run/netns/c1 eth0 --json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 || len(args) == 2 {
				return nil
			}
			return hint(usage("a container is wanted"), "%s; seam ls lists them", cmd.UseLine())
		},
		ValidArgsFunction: c.completeAttachment,
		RunE:              func(_ *cobra.Command, args []string) error { return c.show(args) },
	}
}

func (c *cli) show(args []string) error {
	records, err := c.records()
	if err != nil && len(records) == 0 {
		return err
	}
	found, err := c.choose(records, args)
	if err != nil {
		return err
	}
	all := make([]*explanation, 0, len(found))
	for _, r := range found {
		all = append(all, c.explain(r))
	}
	if c.flags.json {
		return c.printJSON(all)
	}
	for i, e := range all {
		if i > 0 {
			fmt.Fprintln(c.out)
		}
		e.tree().print(c.out)
	}
	return nil
}

// choose returns the attachments of the container that is meant. Docker's have an ID of
// their own on each network, so that one name, or one namespace, may stand for several;
// the beginning of an ID may not.
func (c *cli) choose(records []seam.Record, args []string) ([]*seam.Record, error) {
	var found []*seam.Record
	ids, begins := map[string]bool{}, false
	for _, means := range []func(*seam.Record) bool{
		func(r *seam.Record) bool { return r.ContainerID == args[0] },
		func(r *seam.Record) bool { return isNamespaceOf(r, args[0]) },
		func(r *seam.Record) bool { return r.Name != "" && r.Name == args[0] },
		func(r *seam.Record) bool { begins = true; return strings.HasPrefix(r.ContainerID, args[0]) },
	} {
		for i := range records {
			r := &records[i]
			if means(r) && (len(args) == 1 || r.IfName == args[1]) {
				found = append(found, r)
				ids[r.ContainerID] = true
			}
		}
		if len(found) > 0 {
			break
		}
	}
	switch {
	case len(found) == 0:
		return nil, &failure{cni.Errorf(cni.CodeUnknownContainer, "nothing is attached to a container %q", strings.Join(args, " ")),
			exitNotFound, "seam ls lists what is attached"}
	case begins && len(ids) > 1:
		return nil, hint(usage("%q is the beginning of %d containers' IDs", args[0], len(ids)), "give more of it; seam ls --no-trunc prints them whole")
	}
	return found, nil
}

func isNamespaceOf(r *seam.Record, arg string) bool {
	path, err := namespacePath(arg)
	return err == nil && r.NetNS != "" && r.NetNS == path
}
