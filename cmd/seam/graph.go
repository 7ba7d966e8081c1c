package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/seamnet/seam/cmd/seam/graph"
)

func (c *cli) graphCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "graph [NETWORK...]",
		Short: "Draw networks and attachments as SVG",
		Long: `Draw what is there as a picture: uplinks, the host, bridges and what else containers
hang on, containers with their interfaces and addresses, and published ports as arrows.
Each network has a colour. What was made and is missing is red; seam show CONTAINER
says more of it. Pointing at a thing shows all that is known of it.

The picture is SVG, which browsers show; it follows their dark mode. With --json the
topology that it would be drawn from is printed.`,
		Example: `  seam graph --output host.svg
  seam graph prod --output prod.svg
  seam graph --json`,
		ValidArgsFunction: c.completeNetwork,
		RunE:              func(_ *cobra.Command, args []string) error { return c.graph(args, file) },
	}
	cmd.Flags().StringVarP(&file, "output", "o", "", "`file` to write, whose folder is there (default: standard output)")
	return cmd
}

func (c *cli) graph(networks []string, file string) error {
	t, unread := c.topology(networks)
	if t == nil {
		return unread
	}
	if file == "" {
		return errors.Join(c.printGraph(c.out, t), unread)
	}
	err := writeReport(file, func(w io.Writer) error { return c.printGraph(w, t) })
	if err != nil {
		err = fmt.Errorf("--output: %w", err)
	}
	return errors.Join(err, unread)
}

func (c *cli) printGraph(w io.Writer, t *graph.Topology) error {
	if c.flags.json {
		e := json.NewEncoder(w)
		e.SetIndent("", "    ")
		return e.Encode(t)
	}
	_, err := io.WriteString(w, t.SVG())
	return err
}
