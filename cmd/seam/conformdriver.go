package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/seamnet/seam/conformance"
)

// driverFlags are those of seam conform for a driver of Docker's.
type driverFlags struct {
	driver       bool
	ipamSocket   string
	options, opt []string // of networks, of their IPAM driver: KEY=VALUE
	subnet       string
	otherIPAM    bool
}

func (f *driverFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(&f.driver, "driver", false, "the target is a driver of Docker's, whatever its name looks like")
	flags.StringVar(&f.ipamSocket, "ipam-socket", "", "`path` of the socket of the IPAM driver that belongs to the driver, if that is another one")
	flags.StringArrayVarP(&f.options, "opt", "o", nil, "`KEY=VALUE` of the driver's networks, as in docker network create (repeatable)")
	flags.StringArrayVar(&f.opt, "ipam-opt", nil, "`KEY=VALUE` for its IPAM driver (repeatable)")
	flags.StringVar(&f.subnet, "subnet", "", "`subnet` of the driver's networks (default: its IPAM driver's choice)")
	flags.BoolVar(&f.otherIPAM, "other-ipam", false, "the driver's networks have addresses of Docker's own, though it has an IPAM driver")
}

// means reports whether a driver is meant: by the flag, by a command behind --, or by a
// socket.
func (f *driverFlags) means(cmd *cobra.Command, args []string) bool {
	if f.driver || cmd.ArgsLenAtDash() >= 0 {
		return true
	}
	if len(args) != 1 {
		return false
	}
	st, err := os.Stat(args[0])
	return err == nil && st.Mode().Type() == fs.ModeSocket
}

// conformDriver has seamd carry out the suite: what speaks to drivers would burden the
// start of every plugin.
func (c *cli) conformDriver(cmd *cobra.Command, args []string, f conformFlags, of driverFlags) error {
	target, title, err := of.target(cmd.ArgsLenAtDash(), args)
	if err != nil {
		return err
	}
	options, err := f.options()
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	program, err := c.seamd(ctx)
	if err != nil {
		return err
	}
	p := &conformProgress{w: c.err, terminal: isTerminal(c.err), quiet: c.flags.json && !isTerminal(c.err)}
	report, err := errand(ctx, program, conformance.Errand{
		Target: target, Title: title, Repeat: of.repeat(cmd.ArgsLenAtDash(), args),
		Levels: options.Levels, Match: f.check, Timeout: options.Timeout, Parallel: options.Parallel,
	}, p.show)
	p.end()
	if err != nil {
		return err
	}
	if dash := cmd.ArgsLenAtDash(); dash >= 0 {
		for i := range report.Findings {
			report.Findings[i].Repeat += " -- " + shellWords(args[dash:])
		}
	}
	return c.report(ctx, report, f)
}

// target returns what drivers.Target is as JSON, and what people call it. Dash is how many
// arguments stand before --; negative: there is none.
func (f *driverFlags) target(dash int, args []string) (target json.RawMessage, title string, err error) {
	t := map[string]any{"OtherIPAM": f.otherIPAM}
	var command []string
	if dash >= 0 {
		args, command = args[:dash], args[dash:]
	}
	switch {
	case len(args) > 1 || len(args)+len(command) == 0:
		return nil, "", hint(usage("one driver is wanted, with the command that starts it behind --, or both"), "seam conform --help")
	case len(args) == 1:
		t["Socket"], title = args[0], args[0]
	default:
		title = shellWords(command)
	}
	if command != nil {
		t["Command"] = command
	}
	if f.ipamSocket != "" {
		t["IPAMSocket"] = f.ipamSocket
	}
	if f.subnet != "" {
		t["Subnet"] = f.subnet
	}
	for key, list := range map[string][]string{"NetworkOptions": f.options, "IPAMOptions": f.opt} {
		options := map[string]string{}
		for _, text := range list {
			k, v, ok := strings.Cut(text, "=")
			if !ok {
				return nil, "", usage("option %q: want KEY=VALUE", text)
			}
			options[k] = v
		}
		t[key] = options
	}
	target, err = json.Marshal(t)
	return target, title, err
}

// repeat returns the command that tests this target but for the driver's own, which stands
// behind the ID of a check.
func (f *driverFlags) repeat(dash int, args []string) string {
	words := []string{"seam", "conform"}
	if f.driver || dash >= 0 {
		words = append(words, "--driver")
	}
	for _, flag := range []struct {
		name   string
		values []string
	}{{"--ipam-socket", []string{f.ipamSocket}}, {"--subnet", []string{f.subnet}}, {"--opt", f.options}, {"--ipam-opt", f.opt}} {
		for _, v := range flag.values {
			if v != "" {
				words = append(words, flag.name, v)
			}
		}
	}
	if f.otherIPAM {
		words = append(words, "--other-ipam")
	}
	if dash >= 0 {
		args = args[:dash]
	}
	return shellWords(append(words, args...))
}

// shellWords returns the words as one types them.
func shellWords(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		if w == "" || strings.ContainsAny(w, " \t\n'\"\\$&|;<>(){}*?[]#~`!") {
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		quoted[i] = w
	}
	return strings.Join(quoted, " ")
}

// errand has the program carry out the suite, and returns its report.
func errand(ctx context.Context, program string, e conformance.Errand, progress func(f conformance.Finding, done, all int)) (*conformance.Report, error) {
	input, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, program, "conform")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(input), &said
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it cleans up
	cmd.WaitDelay = 15 * time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	report, readErr := events(out, progress)
	err = cmd.Wait()
	text := strings.TrimPrefix(strings.TrimSpace(said.String()), "seamd conform: ")
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == int(exitUsage) {
		return nil, usage("%s", text)
	}
	if err != nil && (report == nil || ctx.Err() == nil) { // called off, it tells what it found until then
		if text != "" {
			err = fmt.Errorf("%w: %s", err, text)
		}
		return nil, fmt.Errorf("%s conform: %w", program, err)
	}
	if readErr != nil {
		return nil, fmt.Errorf("%s conform: %w", program, readErr)
	}
	return report, nil
}

// events reads what the program prints until its end.
func events(from io.Reader, progress func(f conformance.Finding, done, all int)) (*conformance.Report, error) {
	defer func() { _, _ = io.Copy(io.Discard, from) }() // it must not wait for its reader
	var report *conformance.Report
	for d := json.NewDecoder(from); ; {
		var e conformance.Event
		err := d.Decode(&e)
		switch {
		case errors.Is(err, io.EOF) && report != nil:
			return report, nil
		case errors.Is(err, io.EOF):
			return nil, errors.New("ended without a report")
		case err != nil:
			return nil, err
		case e.Finding != nil:
			progress(*e.Finding, e.Done, e.All)
		case e.Report != nil:
			report = e.Report
		}
	}
}

// seamd returns the program seamd of this program's version, which is installed beside it.
func (c *cli) seamd(ctx context.Context) (string, error) {
	own, err := filepath.EvalSymlinks(c.self)
	if err != nil {
		return "", err
	}
	program := filepath.Join(filepath.Dir(own), "seamd")
	wanted := "drivers are tried by the program seamd: install it beside " + own
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, "version").Output()
	if err != nil {
		return "", hint(fmt.Errorf("%s version: %w", program, err), "%s", wanted)
	}
	first, _, _ := strings.Cut(string(out), "\n")
	if got := strings.Join(strings.Fields(first), " "); got != "seamd "+version {
		return "", hint(fmt.Errorf("%s is %q, and this is seam %s", program, got, version), "%s", wanted)
	}
	return program, nil
}
