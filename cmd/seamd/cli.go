package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
)

// A cli is one call of the command line: all that it takes from the process.
type cli struct {
	out, err io.Writer
	getenv   func(string) string
	pid      int
	self     string // a path of this program's file
}

const about = `Seamd serves what needs a program that stays. Today that is Docker: a network driver
and an IPAM driver that make every network of /etc/cni/net.d one of Docker's.`

const examples = `  seamd docker                                     answer Docker, as systemd starts it
  docker network create -d seam -o seam.network=prod prod
  docker run --network prod nginx`

// execute runs the command line and returns its exit code.
func (c *cli) execute(ctx context.Context, args []string) exitCode {
	root := c.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	f, ok := errors.AsType[*failure](err)
	switch {
	case ok:
	case cmd == root: // cobra's own
		f = usage("seamd help lists the commands", "%w", err)
	default:
		f = &failure{err: err, exit: exitFailed}
	}
	if f.next == "" && errors.Is(err, fs.ErrPermission) {
		f.next = "run it as root: networks and namespaces are the kernel's"
	}
	fmt.Fprintf(c.err, "%s: %s\n", cmd.CommandPath(), strings.ReplaceAll(err.Error(), "\n", "\n  "))
	if f.next != "" {
		fmt.Fprintf(c.err, "  next: %s\n", f.next)
	}
	return f.exit
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use: "seamd", Long: about, Example: examples,
		SilenceErrors: true, SilenceUsage: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("no command %q", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetOut(c.out)
	root.SetErr(c.err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage(cmd.CommandPath()+" --help lists the flags", "%v", err)
	})
	root.AddCommand(c.dockerCommand(), c.conformCommand(), c.versionCommand(),
		&cobra.Command{Use: "exit-codes", Short: "What the program ends with", Long: "Exit codes\n\n" + exitCodesHelp})
	return root
}

func (c *cli) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of the program",
		Args:  noArguments,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(c.out, "seamd  %s\ngo     %s\n", version, runtime.Version())
			return err
		},
	}
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usage(cmd.CommandPath()+" --help", "no argument is wanted, but there is %q", args[0])
}

func (c *cli) envOr(name, otherwise string) string {
	if v := c.getenv(name); v != "" {
		return v
	}
	return otherwise
}
