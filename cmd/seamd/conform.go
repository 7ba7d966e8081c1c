package main

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/seamnet/seam/conformance"
	"github.com/seamnet/seam/conformance/drivers"
)

// conformSuites are those that this program can carry out.
func conformSuites() conformance.Suites {
	return conformance.Suites{drivers.SuiteName: drivers.Reopen}
}

// conformCommand is of "seam conform", which does not link what speaks to drivers: it
// reads an errand, and writes events.
func (c *cli) conformCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "conform",
		Short:  "Try whether a driver does what is asked of it, for seam conform",
		Hidden: true,
		Args:   noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var errand conformance.Errand
			if err := json.NewDecoder(cmd.InOrStdin()).Decode(&errand); err != nil {
				return usage("seam conform --help", "errand: %w", err)
			}
			suite, err := drivers.Reopen(errand.Target)
			if err != nil {
				return usage("seam conform --help", "%w", err)
			}
			return errand.Do(cmd.Context(), suite, c.out)
		},
	}
}
