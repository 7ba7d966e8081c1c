package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/seamnet/seam/cmd/seam/lint"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/plugin/all"
)

func (c *cli) validateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "validate FILE...",
		Short: "Say what is wrong with a network's file, and where",
		Long: `Read network files and print what is wrong with them, one finding a line, as
FILE:LINE:COLUMN: what it is. FILE may be - for standard input.

Errors (exit code 2) are what makes the network unusable: syntax, names, unknown keys
and wrong types in the configuration of built-in plugins, ranges that overlap or do not
fit. Warnings are what is probably not meant. Nothing is looked up on the host.`,
		Example: `  seam validate /etc/cni/net.d/*.conflist
  seam validate --json - < blue.conflist`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return hint(usage("no file was given"), "seam validate FILE..., or - for standard input")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return c.validate(args) },
	}
}

func (c *cli) validate(files []string) error {
	rules := lint.Rules{Configs: all.Configs(), Versions: wire.SupportedVersions()}
	findings, broken := []lint.Finding{}, 0
	for _, file := range files {
		data, err := c.read(file)
		if err != nil {
			return err
		}
		found := rules.Check(file, data)
		findings = append(findings, found...)
		for _, f := range found {
			if f.Severity == lint.Error {
				broken++
			}
		}
	}
	if err := c.printFindings(findings, len(files)); err != nil || broken == 0 {
		return err
	}
	return &failure{cni.Errorf(cni.CodeInvalidConfig, "%d errors: %w", broken, errSaid), exitUsage, ""}
}

func (c *cli) read(file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(c.in)
	}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &failure{err: err, exit: exitNotFound}
	}
	return data, err
}

func (c *cli) printFindings(findings []lint.Finding, files int) error {
	if c.flags.json {
		return c.printJSON(findings)
	}
	for _, f := range findings {
		fmt.Fprintln(c.out, f)
	}
	if len(findings) == 0 {
		fmt.Fprintf(c.err, "nothing wrong in %s\n", count(files, "file"))
	}
	return nil
}

// count writes a number of things.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
