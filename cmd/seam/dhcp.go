package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/seamnet/seam/plugin/dhcp"
)

const dhcpAbout = `Lease addresses from DHCP servers for the plugin dhcp, renew them, and give them
back. It runs until a signal ends it. The leases stay: they are written down beside
the socket, and the next daemon goes on with them.

Also called so: dhcp daemon, under the plugin's name, as that of the reference
plugins. systemd may hand it the socket (deploy/seam-dhcp.socket).`

func (c *cli) dhcpCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "dhcp", Short: "Keep the leases of the plugin dhcp", Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	d := dhcpDaemon{log: c.err, getenv: c.getenv}
	flags := d.flags()
	daemon := &cobra.Command{
		Use:   "daemon",
		Short: "Lease addresses, renew them, and give them back",
		Long:  dhcpAbout,
		// The flags are those of the reference, with one dash.
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			err := d.parse(flags, args)
			if errors.Is(err, flag.ErrHelp) {
				return cmd.Help()
			}
			if err != nil {
				return hint(usage("%v", err), "%s -help lists the flags", cmd.CommandPath())
			}
			return d.run(cmd.Context())
		},
	}
	daemon.SetUsageFunc(func(cmd *cobra.Command) error {
		fmt.Fprintf(cmd.OutOrStdout(), "Usage:\n  %s [flags]\n\nFlags:\n", cmd.CommandPath())
		flags.SetOutput(cmd.OutOrStdout())
		flags.PrintDefaults()
		return nil
	})
	cmd.AddCommand(daemon)
	return cmd
}

// isDHCPDaemon reports whether the program is called as the reference's daemon.
func isDHCPDaemon(name string, args []string) bool {
	return name == "dhcp" && len(args) > 0 && args[0] == "daemon"
}

// runDHCPDaemon is the program called as "dhcp daemon".
func runDHCPDaemon(args []string) exitCode {
	outliveReaders()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	d := dhcpDaemon{log: os.Stderr, getenv: os.Getenv}
	flags := d.flags()
	err := d.parse(flags, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(os.Stdout, "%s\n\nUsage:\n  dhcp daemon [flags]\n\nFlags:\n", dhcpAbout)
		flags.SetOutput(os.Stdout)
		flags.PrintDefaults()
		return exitDone
	case err != nil:
		fmt.Fprintf(os.Stderr, "dhcp daemon: %v\n  next: dhcp daemon -help lists the flags\n", err)
		return exitUsage
	}
	if err := d.run(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "dhcp daemon: %v\n", err)
		return exitFailed
	}
	return exitDone
}

// A dhcpDaemon is one run of the daemon: what it takes from the process.
type dhcpDaemon struct {
	log    io.Writer
	getenv func(string) string

	daemon          dhcp.Daemon
	socket, pidFile string
}

// flags are the reference's.
func (d *dhcpDaemon) flags() *flag.FlagSet {
	f := flag.NewFlagSet("dhcp daemon", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	f.StringVar(&d.socket, "socketpath", dhcp.DefaultSocket, "`path` of the socket, below hostprefix")
	f.StringVar(&d.pidFile, "pidfile", "", "`path` of a file to write the process's ID to")
	f.StringVar(&d.daemon.Prefix, "hostprefix", "", "`folder` where the host's root is mounted: before the paths of the socket and of namespaces")
	f.BoolVar(&d.daemon.Broadcast, "broadcast", false, "have servers broadcast their answers")
	f.DurationVar(&d.daemon.Timeout, "timeout", dhcp.DefaultTimeout, "longest `time` until one message is answered")
	f.DurationVar(&d.daemon.ResendMax, "resendmax", dhcp.DefaultResendMax, "longest pause, a `time`, before a server is asked again")
	f.DurationVar(&d.daemon.ResendTimeout, "resendtimeout", dhcp.DefaultResendTimeout, "`time` after which leasing an address is given up")
	return f
}

func (d *dhcpDaemon) parse(f *flag.FlagSet, args []string) error {
	if err := f.Parse(args); err != nil {
		return err
	}
	switch {
	case f.NArg() > 0:
		return fmt.Errorf("no argument is wanted, but there is %q", f.Arg(0))
	case d.socket != "" && !filepath.IsAbs(d.socket):
		return fmt.Errorf("-socketpath %q: must be an absolute path", d.socket)
	case d.pidFile != "" && !filepath.IsAbs(d.pidFile):
		return fmt.Errorf("-pidfile %q: must be an absolute path", d.pidFile)
	case d.daemon.Timeout <= 0 || d.daemon.ResendMax <= 0 || d.daemon.ResendTimeout <= 0:
		return errors.New("-timeout, -resendmax and -resendtimeout must be more than 0")
	}
	if d.socket == "" {
		d.socket = dhcp.DefaultSocket
	}
	return nil
}

func (d *dhcpDaemon) run(ctx context.Context) error {
	l, err := d.listen()
	if err != nil {
		return err
	}
	if d.pidFile != "" {
		if err := os.WriteFile(d.pidFile, []byte(strconv.Itoa(os.Getpid())), 0o644); err != nil {
			l.Close()
			return err
		}
		defer os.Remove(d.pidFile)
	}
	d.daemon.Log = slog.New(slog.NewTextHandler(d.log, nil))
	return d.daemon.Serve(ctx, l)
}

// listen takes the socket that systemd hands over (sd_listen_fds(3)), or makes it.
func (d *dhcpDaemon) listen() (net.Listener, error) {
	const firstFD = 3
	if d.getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return dhcp.Listen(d.daemon.Prefix + d.socket)
	}
	if n := d.getenv("LISTEN_FDS"); n != "1" {
		return nil, fmt.Errorf("socket activation: LISTEN_FDS is %q: one socket is wanted", n)
	}
	f := os.NewFile(firstFD, "LISTEN_FDS")
	if f == nil {
		return nil, fmt.Errorf("socket activation: %w", fs.ErrInvalid)
	}
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("socket activation: %w", err)
	}
	return l, nil
}
