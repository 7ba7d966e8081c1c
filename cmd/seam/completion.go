package main

import (
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seamnet/seam"
)

// completeNetwork offers the networks that there are.
func (c *cli) completeNetwork(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	networks, _ := seam.LoadAll(c.flags.confDir) // what is broken cannot be completed
	var names []string
	for _, n := range networks {
		names = append(names, n.Name+"\t"+n.File)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeNetworkAndNamespace offers networks, then the named namespaces beside
// files.
func (c *cli) completeNetworkAndNamespace(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return c.completeNetwork(cmd, args, typed)
	case 1:
		entries, _ := os.ReadDir(namedNamespaces)
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names, cobra.ShellCompDirectiveDefault
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// completePlugins offers the plugins behind those that are in the list already.
func (c *cli) completePlugins(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	before := typed[:strings.LastIndex(typed, ",")+1]
	chosen := strings.Split(before, ",")
	var lists []string
	for _, name := range c.pluginNames() {
		if !slices.Contains(chosen, name) {
			lists = append(lists, before+name)
		}
	}
	return lists, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// completeAttachment offers containers, by ID and by name, then the interfaces of the one
// chosen.
func (c *cli) completeAttachment(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	records, _ := c.records()
	var words []string
	for _, r := range records {
		switch {
		case len(args) == 0:
			words = append(words, r.ContainerID+"\t"+r.IfName+" on "+r.Network)
			if r.Name != "" {
				words = append(words, r.Name+"\t"+r.IfName+" on "+r.Network)
			}
		case len(args) == 1 && (r.ContainerID == args[0] || r.Name == args[0]):
			words = append(words, r.IfName+"\t"+r.Network)
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// completePacket offers containers, then the interfaces of the one chosen and the
// containers to which a packet may go.
func (c *cli) completePacket(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	words, directive := c.completeAttachment(cmd, args, typed)
	if len(args) == 1 || len(args) == 2 {
		others, _ := c.completeAttachment(cmd, nil, typed)
		words = append(words, others...)
	}
	return words, directive
}

// offer completes a flag with words that are always the same.
func offer(cmd *cobra.Command, flag string, words ...string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag is the command's own
	}
}
