package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/seamnet/seam/netns/scratch"
)

// Suites make a suite again, by its name, from its target's JSON.
type Suites map[string]func(target json.RawMessage) (Suite, error)

// Serve carries out a check and ends the process, if Run started it for that; else it
// returns at once. A program that calls Run calls Serve first of all.
func Serve(suites Suites) {
	if os.Getenv(variable) == "" {
		return
	}
	os.Unsetenv(variable) // or what the check executes would take itself for a host
	if err := serve(suites); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func serve(suites Suites) error {
	var o order
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
		return fmt.Errorf("order: %w", err)
	}
	create, ok := suites[o.Suite]
	if !ok {
		return fmt.Errorf("suite %q: this program does not serve it", o.Suite)
	}
	s, err := create(o.Target)
	if err != nil {
		return fmt.Errorf("suite %s: %w", o.Suite, err)
	}
	i := slices.IndexFunc(s.Checks, func(c Check) bool { return c.ID == o.Check })
	if i < 0 {
		return fmt.Errorf("check %s: not in suite %s", o.Check, o.Suite)
	}
	if !s.Here {
		if err := scratch.Enter(scratch.StateDirs()...); err != nil {
			return err
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return json.NewEncoder(os.Stdout).Encode(carryOut(ctx, s.Checks[i]))
}
