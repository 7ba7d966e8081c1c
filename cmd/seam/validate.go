package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/seamnet/seam/cmd/seam/lint"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/plugin/all"
)

func (c *cli) validateCommand() *cobra.Command {
	strict := false
	cmd := &cobra.Command{
		Use:   "validate FILE|DIR...",
		Short: "Say what is wrong with a network's file, and where",
		Long: `Read network files and print what is wrong with them, one finding a line, as
FILE:LINE:COLUMN: what it is. FILE may be - for standard input; of a folder, the files
are read that Seam would: *.conflist, *.conf and *.json.

Errors (exit code 2) are what no container can be attached with: syntax, names, values
of the wrong type, ranges that do not fit, plugins where they cannot stand. Warnings are
what works and is probably not meant: keys that nobody reads, ports that will never
come, a file that another one hides. Of plugins that are not built in, the own keys are
not checked. Nothing is looked up on the host.`,
		Example: `  seam validate /etc/cni/net.d
  seam validate --strict *.conflist             # before they are rolled out
  seam validate --json - < blue.conflist`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return hint(usage("no file was given"), "seam validate FILE..., or - for standard input")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return c.validate(args, strict) },
	}
	cmd.Flags().BoolVar(&strict, "strict", false, "end with exit code 2 for warnings too")
	return cmd
}

// networkRules are what networks are checked against: the plugins that are built in.
func networkRules() lint.Rules {
	return lint.Rules{Configs: all.Configs(), Chained: all.Chained(), IPAM: all.IPAM(), Versions: wire.SupportedVersions()}
}

func (c *cli) validate(args []string, strict bool) error {
	names, err := networkFiles(args)
	if err != nil {
		return err
	}
	var files []lint.File
	for _, name := range names {
		text, err := c.read(name)
		if err != nil {
			return err
		}
		files = append(files, lint.File{Name: name, Text: text})
	}
	findings := append([]lint.Finding{}, networkRules().CheckAll(files)...)
	found := map[lint.Severity]int{}
	for _, f := range findings {
		found[f.Severity]++
	}
	if err := c.printFindings(findings, len(files)); err != nil {
		return err
	}
	switch {
	case found[lint.Error] > 0:
		err = fmt.Errorf("%s: %w", count(found[lint.Error], string(lint.Error)), errSaid)
	case found[lint.Warning] > 0 && strict:
		err = fmt.Errorf("%s: %w", count(found[lint.Warning], string(lint.Warning)), errSaid)
	default:
		return nil
	}
	return &failure{cni.Errorf(cni.CodeInvalidConfig, "%w", err), exitUsage, ""}
}

// networkFiles puts in the place of a folder the networks' files in it, in the order in
// which Seam reads them.
func networkFiles(args []string) (files []string, err error) {
	for _, arg := range args {
		if st, err := os.Stat(arg); err != nil || !st.IsDir() {
			files = append(files, arg) // what is wrong with it, reading it says
			continue
		}
		entries, err := os.ReadDir(arg)
		if err != nil {
			return nil, err
		}
		var lists, singles []string
		for _, e := range entries {
			switch name := filepath.Join(arg, e.Name()); {
			case e.IsDir():
			case filepath.Ext(name) == ".conflist":
				lists = append(lists, name)
			case filepath.Ext(name) == ".conf", filepath.Ext(name) == ".json":
				singles = append(singles, name)
			}
		}
		if len(lists)+len(singles) == 0 {
			return nil, &failure{cni.Errorf(cni.CodeInvalidConfig, "%s: no *.conflist, *.conf or *.json is in this folder", arg), exitNotFound, ""}
		}
		files = slices.Concat(files, lists, singles)
	}
	return files, nil
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
