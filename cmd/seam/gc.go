package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
)

type gcFlags struct {
	all, keepNone, builtin bool
	keep                   []string
}

func (c *cli) gcCommand() *cobra.Command {
	var f gcFlags
	cmd := &cobra.Command{
		Use:   "gc [NETWORK | --all]",
		Short: "Free what belongs to containers that are gone",
		Long: `Free addresses, links, rules, connections and files of attachments that are no
longer in use: those whose namespace is gone or, with --keep, all but the ones that
are named. What an earlier command could not finish is undone first.

With --builtin, Seam's own plugins are asked, whatever programs stand in the plugin
folders: after a change to other plugins they free what they made themselves.`,
		Example: `  seam gc blue
  seam gc blue --keep web/eth0 --keep db/eth0
  seam gc --all`,
		Annotations:       map[string]string{specObject: "yes"},
		ValidArgsFunction: c.completeNetwork,
		Args: func(cmd *cobra.Command, args []string) error {
			if f.all && len(args) == 0 {
				return nil
			}
			return oneNetwork(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error { return c.gc(cmd.Context(), &f, args) },
	}
	cmd.Flags().StringArrayVar(&f.keep, "keep", nil, "`ID/INTERFACE` that is in use; all others are not (repeatable)")
	cmd.Flags().BoolVar(&f.keepNone, "keep-none", false, "nothing is in use")
	cmd.Flags().BoolVar(&f.all, "all", false, "every network that there is")
	cmd.Flags().BoolVar(&f.builtin, "builtin", false, "ask Seam's own plugins, not programs of their names")
	cmd.MarkFlagsMutuallyExclusive("all", "keep")
	cmd.MarkFlagsMutuallyExclusive("keep", "keep-none")
	cmd.MarkFlagsMutuallyExclusive("all", "keep-none")
	return cmd
}

func (c *cli) gc(ctx context.Context, f *gcFlags, args []string) error {
	kept, err := f.kept()
	if err != nil {
		return err
	}
	rt := c.runtime()
	if f.builtin {
		rt.Plugins = builtinFirst{c.builtins, rt.Plugins}
	}
	before, err := rt.Attachments()
	if err != nil {
		return err
	}
	networks, err := c.gcNetworks(f, args, before)
	if err != nil && len(networks) == 0 {
		return err
	}
	errs := []error{err}
	for _, n := range networks {
		errs = append(errs, c.gcOne(ctx, rt, n, kept))
	}
	errs = append(errs, rt.Recover(ctx)) // what is of other networks
	after, err := rt.Attachments()
	if err == nil {
		err = c.hook().Collect(after)
	}
	errs = append(errs, err, c.printFreed(freed(before, after)))
	return errors.Join(errs...)
}

// builtinFirst finds Seam's own plugins, and other programs only for other types.
type builtinFirst struct {
	builtins cni.Registry
	others   cni.Finder
}

func (b builtinFirst) Find(pluginType string) (cni.Plugin, error) {
	if p, err := b.builtins.Find(pluginType); err == nil {
		return p, nil
	}
	return b.others.Find(pluginType)
}

// kept returns what is said to be in use, of whichever network; nil if nothing is said.
func (f *gcFlags) kept() ([]cni.Attachment, error) {
	if len(f.keep) == 0 && !f.keepNone {
		return nil, nil
	}
	kept := []cni.Attachment{}
	for _, k := range f.keep {
		id, ifName, ok := strings.Cut(k, "/")
		if !ok || cni.CheckContainerID(id) != nil || cni.CheckIfName(ifName) != nil {
			return nil, usage("--keep %q: it is ID/INTERFACE, such as web/eth0", k)
		}
		kept = append(kept, cni.Attachment{ContainerID: id, IfName: ifName})
	}
	return kept, nil
}

func (c *cli) gcOne(ctx context.Context, rt *seam.Runtime, n *seam.Network, kept []cni.Attachment) error {
	defer c.progress("collecting what is gone from %s", n.Name)()
	if kept == nil {
		return rt.CollectDead(ctx, n, c.flags.cacheDirs[1:]...)
	}
	valid := slices.Clone(kept)
	for i := range valid {
		valid[i].Network = n.Name
	}
	return rt.Collect(ctx, n, valid)
}

// gcNetworks returns the networks to collect: all means those that are configured,
// and those of which there are only attachments. With an error it still returns
// what it could read.
func (c *cli) gcNetworks(f *gcFlags, args []string, records []seam.Record) ([]*seam.Network, error) {
	if !f.all {
		n, err := c.knownNetwork(args[0])
		if err != nil {
			return nil, err
		}
		return []*seam.Network{n}, nil
	}
	networks, err := seam.LoadAll(c.flags.confDir)
	for _, recorded := range recordedNetworks(records) {
		if !slices.ContainsFunc(networks, func(n *seam.Network) bool { return n.Name == recorded.Name }) {
			networks = append(networks, recorded)
		}
	}
	return networks, err
}

// freed returns the records that are no longer there.
func freed(before, after []seam.Record) []seam.Record {
	return slices.DeleteFunc(slices.Clone(before), func(b seam.Record) bool {
		return slices.ContainsFunc(after, func(a seam.Record) bool { return a.Attachment == b.Attachment })
	})
}

func (c *cli) printFreed(records []seam.Record) error {
	if c.flags.json {
		list := make([]attachment, 0, len(records))
		for i := range records {
			list = append(list, c.describe(&records[i]))
		}
		return c.printJSON(map[string]any{"freed": list})
	}
	if len(records) == 0 {
		fmt.Fprintln(c.err, "no attachment was stale")
		return nil
	}
	t := newTable("FREED", "INTERFACE", "NETWORK", "ADDRESS", "PORTS")
	for i := range records {
		a := c.describe(&records[i])
		t.row(a.ContainerID, a.IfName, a.Network, strings.Join(a.Addresses, ","), strings.Join(a.Ports, ","))
	}
	t.print(c.out)
	return nil
}
