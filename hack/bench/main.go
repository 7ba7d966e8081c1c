// Command bench measures Seam against the reference plugins and against the least
// that the kernel allows, all in one run on one machine, and writes
// docs/benchmarks.md with its pictures.
//
// It makes pods and hosts in namespaces of their own and leaves nothing on the
// machine. It is not a test: it passes no judgement on a slow machine but on the
// page. To see what a contender does while it runs: nsenter -t PID -n -m, where PID is
// one of the processes "bench".
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

const referenceVariable = "SEAM_REFERENCE_PLUGINS"

func main() {
	if asHost(os.Stdin, os.Stdout) || asNode(os.Stdout) {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	out := flags.String("out", "docs", "folder for benchmarks.md and its pictures")
	quick := flags.Bool("quick", false, "only show that it works: few rounds, few present")
	present := flags.Int("present", 0, "attachments that are present where it is not none, at most 1000 (default 1000; quick: 4)")
	prefill := flags.Duration("prefill", 0, "how long making those of one host may take; when it is over, fewer are present (default 5m; quick: 5s)")
	rounds := flags.Int("rounds", 0, "turns of each host (default 12; quick: 1)")
	docker := flags.Bool("docker", false, "measure Docker instead, and write benchmarks-docker.md")
	engines := flags.String("engines", "", "`names` of Docker's engines, with commas between; none: all that are there")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *docker {
		return runDocker(ctx, *out, *quick, *rounds, *engines)
	}
	plan := fullPlan()
	if *quick {
		plan = quickPlan()
	}
	for _, s := range plan.sets() {
		most := &s.Present[len(s.Present)-1]
		*most = cmp.Or(*present, *most)
	}
	plan.Prefill = cmp.Or(*prefill, plan.Prefill)
	plan.Rounds = cmp.Or(*rounds, plan.Rounds)
	plan.Progress = os.Stderr
	plan.Reference = os.Getenv(referenceVariable)
	if plan.Reference == "" && !*quick {
		return errors.New(referenceVariable + ": not set; make bench builds the reference plugins and sets it")
	}
	f, err := bench(ctx, plan)
	if err != nil {
		return err
	}
	return write(*out, f)
}

// runDocker is run for Docker's part.
func runDocker(ctx context.Context, out string, quick bool, rounds int, engines string) (err error) {
	plan := fullDockerPlan()
	if quick {
		plan = quickDockerPlan()
	}
	plan.Rounds = cmp.Or(rounds, plan.Rounds)
	plan.Progress = os.Stderr
	if plan.Engines, err = dockerEngines(engines); err != nil {
		return err
	}
	f, err := benchDocker(ctx, plan)
	if err != nil {
		return err
	}
	return writeDocker(out, f)
}

// bench builds Seam and carries out the plan.
func bench(ctx context.Context, plan Plan) (*Figures, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("needs root: makes network namespaces")
	}
	if max(plan.Compared.most(), plan.Whole.most()) > 1000 {
		return nil, errors.New("a bridge has at most 1,023 ports: at most 1000 present")
	}
	dir, err := os.MkdirTemp("", "seam-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := buildSeam(ctx, dir); err != nil {
		return nil, err
	}
	plan.Seam = dir
	return plan.carryOut(ctx)
}

func write(dir string, f *Figures) error {
	page := filepath.Join(dir, "benchmarks.md")
	if err := os.WriteFile(page, []byte(f.page(thisMachine())), 0o644); err != nil {
		return err
	}
	for name, rows := range map[string][]Cell{"benchmarks.svg": f.rows(f.Plan.Compared, "ADD"), "benchmarks-chains.svg": alone(f.rows(f.Plan.Whole, "ADD"))} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(f.plot(rows)), 0o644); err != nil {
			return err
		}
	}
	return nil
}
