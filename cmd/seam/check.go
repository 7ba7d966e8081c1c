package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/plugin/all"
)

type checkFlags struct {
	containerFlags
	all, repair bool
}

func (c *cli) checkCommand() *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use:   "check NETWORK NETNS | --all | --repair",
		Short: "Say whether an attachment is as it was made",
		Long: `Ask every plugin whether what it made is still there: links, addresses, routes,
leases, rules. If something is missing the exit code is 3.

With --repair, Seam's firewall table is set again from its records when something
is missing, and the check is made once more. Containers are not touched. Alone, it
is about all attachments, as --all.`,
		Example: `  seam check blue /run/netns/c1
  seam check --all
  seam check --repair`,
		Annotations:       map[string]string{specObject: "yes"},
		ValidArgsFunction: c.completeNetworkAndNamespace,
		Args: func(cmd *cobra.Command, args []string) error {
			f.all = f.all || f.repair && len(args) == 0
			switch {
			case f.all && len(args) > 0:
				return hint(usage("--all is every attachment, but there is %q", strings.Join(args, " ")), "%s", cmd.UseLine())
			case f.all:
				return notAboutOne(cmd)
			}
			return networkAndNamespace(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.all {
				return c.checkAll(cmd.Context(), f.repair)
			}
			return c.checkOne(cmd.Context(), &f, args)
		},
	}
	f.identity(cmd)
	f.wishes(cmd, asAdded)
	cmd.Flags().BoolVar(&f.all, "all", false, "check all attachments")
	cmd.Flags().BoolVar(&f.repair, "repair", false, "set the firewall again if something is missing, and check again; alone: of all attachments")
	return cmd
}

// notAboutOne refuses the flags of a single attachment where all are meant.
func notAboutOne(cmd *cobra.Command) error {
	for _, name := range containerFlagNames {
		if cmd.Flags().Changed(name) {
			return hint(usage("--%s is about one attachment, and all are to be checked", name), "%s", cmd.UseLine())
		}
	}
	return nil
}

func (c *cli) checkOne(ctx context.Context, f *checkFlags, args []string) error {
	n, err := c.knownNetwork(args[0])
	if err != nil {
		return err
	}
	con, err := c.container(n, &f.containerFlags, args[1:])
	if err != nil {
		return err
	}
	if r, err := c.runtime().Attached(con.Attachment(n.Name)); err == nil && r != nil {
		n = asMade(n, r)
	}
	defer c.progress("checking %s of %s on %s", con.IfName, con.ID, n.Name)()
	repaired, err := c.check(ctx, f.repair, func() error { return c.runtime().Check(ctx, n, con) })
	if err != nil {
		return err
	}
	return c.saySound(repaired)
}

// check calls ask, and again after a repair if that is wanted and the first answer
// was an error that a repair can help.
func (c *cli) check(ctx context.Context, repair bool, ask func() error) (repaired bool, err error) {
	err = ask()
	if err == nil || exitOf(err) != exitFailed || ctx.Err() != nil {
		return false, err
	}
	if !repair {
		return false, &failure{err, exitDiffers, "add --repair if it is the firewall; else seam del and seam add"}
	}
	if repairErr := all.Repair(ctx, c.host); repairErr != nil {
		return false, errors.Join(err, fmt.Errorf("repair: %w", repairErr))
	}
	if err = ask(); err != nil {
		return false, &failure{err, exitDiffers, "the firewall was set again and that did not help: seam del and seam add"}
	}
	return true, nil
}

func (c *cli) saySound(repaired bool) error {
	if c.flags.json {
		return c.printJSON(map[string]bool{"sound": true, "repaired": repaired})
	}
	if repaired {
		fmt.Fprintln(c.err, "something was missing; the firewall was set again, and now all is there")
	}
	return nil
}

// A checked is the answer for one of all attachments.
type checked struct {
	cni.Attachment
	Sound     bool   `json:"sound"`
	Repaired  bool   `json:"repaired,omitempty"`
	Unchecked string `json:"unchecked,omitempty"` // why it could not be asked
	Error     string `json:"error,omitempty"`
}

func (c *cli) checkAll(ctx context.Context, repair bool) error {
	records, err := c.runtime().Attachments()
	if err != nil {
		return err
	}
	defer c.progress("checking %d attachments", len(records))()
	answers, broken := make([]checked, 0, len(records)), 0
	for i := range records {
		a := c.checkRecord(ctx, repair, &records[i])
		if a.Error != "" {
			broken++
		}
		answers = append(answers, a)
	}
	if err := c.printChecked(answers); err != nil || broken == 0 {
		return err
	}
	return &failure{cni.Errorf(cni.CodeInternal, "%d of %d attachments are not as they were made: %w", broken, len(answers), errSaid), exitDiffers, ""}
}

// checkRecord checks one of all attachments. That a network's version has no CHECK is
// no fault of it: every pod of containerd is also on a loopback network of version 0.3.1.
func (c *cli) checkRecord(ctx context.Context, repair bool, r *seam.Record) checked {
	a := checked{Attachment: r.Attachment}
	n, err := seam.Load(c.flags.confDir, r.Network)
	if err != nil { // its file is gone or broken, or one before it
		n, err = r.Recorded()
	}
	if err == nil {
		n = asMade(n, r)
		if ok, versionErr := wire.AtLeast(n.Version, "0.4.0"); versionErr == nil && !ok {
			a.Unchecked = "version " + n.Version + " has no CHECK"
			return a
		}
		a.Repaired, err = c.check(ctx, repair, func() error { return c.runtime().Check(ctx, n, container(r)) })
	}
	if a.Sound = err == nil; !a.Sound {
		a.Error = err.Error()
	}
	return a
}

// asMade returns the network that the attachment is of: the one of its file or, where the
// record's was made of that with another chain, the record's. Docker's attachments have
// addresses that are reserved elsewhere, and what reserves them is the IPAM plugin alone.
func asMade(n *seam.Network, r *seam.Record) *seam.Network {
	recorded, err := r.Recorded()
	if err != nil {
		return n
	}
	for place, p := range recorded.Plugins { // which lacks the plugins of a drop-in folder
		if place >= len(n.Plugins) || p.Type != n.Plugins[place].Type || p.IPAM != n.Plugins[place].IPAM {
			return recorded
		}
	}
	return n
}

// container returns the container as it was attached.
func container(r *seam.Record) seam.Container {
	return seam.Container{ID: r.ContainerID, IfName: r.IfName, NetNS: r.NetNS, Args: r.Args, Capabilities: r.Capabilities}
}

func (c *cli) printChecked(answers []checked) error {
	if c.flags.json {
		return c.printJSON(answers)
	}
	t := newTable("NETWORK", "CONTAINER", "INTERFACE", "CHECK")
	for _, a := range answers {
		state := "sound"
		switch {
		case a.Error != "":
			state = a.Error
		case a.Unchecked != "":
			state = "not checked: " + a.Unchecked
		case a.Repaired:
			state = "repaired"
		}
		t.row(a.Network, a.ContainerID, a.IfName, oneLine(state))
	}
	t.print(c.out)
	return nil
}
