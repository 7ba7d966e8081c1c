package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// A Plan says what is measured, and how often.
type Plan struct {
	Compared Set // with the floor
	Whole    Set // chains as people run them
	Data     Data
	Width    int // how many at a time, where it is not one

	Rounds         int // in each, every host has its turn
	Alone          int // attachments one after another in a round
	ReferenceEvery int // the reference has its turn in every such round only

	Reference string // folder of the reference plugins; empty: they are left out
	Seam      string // folder of Seam's
	Prefill   time.Duration
	Progress  io.Writer
}

// A Set are chains that are measured under the same conditions.
type Set struct {
	Chains  []string
	Present []int // attachments that stay

	// ReferencePresent is the most of them that the reference is measured with: it
	// takes minutes to make them.
	ReferencePresent int
}

// most is the highest number of attachments present.
func (s Set) most() int { return s.Present[len(s.Present)-1] }

func (p Plan) sets() []Set { return []Set{p.Compared, p.Whole} }

func fullPlan() Plan {
	return Plan{
		Compared: Set{[]string{masqueraded, forwarded}, []int{0, 1000}, 1000},
		Whole:    Set{[]string{nerdctl, kubelet, onMacvlan, routed}, []int{0, 400, 1000}, 400},
		Data: Data{
			Chains: []string{masqueraded, routed, onMacvlan}, Rounds: 4, Seconds: 2,
			Rates: []Rates{{In: 50e6, Out: 20e6}, {In: 1e9, Out: 500e6}},
		},
		Width: 16, Rounds: 12, Alone: 6, ReferenceEvery: 3, Prefill: 5 * time.Minute,
	}
}

// quickPlan shows that all of it works, and measures nothing that counts.
func quickPlan() Plan {
	return Plan{
		Compared: Set{[]string{masqueraded, forwarded}, []int{0, 4}, 4},
		Whole:    Set{[]string{nerdctl, kubelet, onMacvlan, routed}, []int{0, 1}, 0},
		Data:     Data{Chains: []string{masqueraded}, Rounds: 1, Seconds: 1, Rates: []Rates{{In: 50e6, Out: 20e6}}},
		Width:    2, Rounds: 1, Alone: 2, ReferenceEvery: 1, Prefill: 5 * time.Second,
	}
}

// referenceTurns is how many turns a host of the reference has.
func (p Plan) referenceTurns() int { return (p.Rounds + p.ReferenceEvery - 1) / p.ReferenceEvery }

// contenders are those that a chain is measured with.
func (p Plan) contenders(s Set, chain string, present int) (list []string) {
	if p.Reference != "" && present <= s.ReferencePresent {
		list = append(list, reference)
	}
	list = append(list, executed, inProcess)
	if recipeOf(chain).floor {
		list = append(list, floorName)
	}
	return list
}

func (p Plan) binDir(contender string) string {
	if contender == reference {
		return p.Reference
	}
	return p.Seam
}

// pluginNames are those that the chains use.
var pluginNames = []string{"bridge", "ptp", "macvlan", "host-local", "static", "portmap", "firewall", "tuning", "bandwidth"}

// buildSeam builds Seam as it is installed: one program under the plugins' names.
func buildSeam(ctx context.Context, dir string) error {
	program := filepath.Join(dir, "seam")
	if err := buildProgram(ctx, program, "cmd/seam"); err != nil {
		return err
	}
	for _, name := range pluginNames {
		if err := os.Link(program, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// buildProgram builds what is in a folder of the module.
func buildProgram(ctx context.Context, file, folder string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", file, "github.com/seamnet/seam/"+folder)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", folder, err, out)
	}
	return nil
}

func (p Plan) say(format string, args ...any) {
	fmt.Fprintf(p.Progress, format+"\n", args...)
}

// carryOut measures everything, first where nothing else is present: a thousand pods
// keep the kernel busy also for hosts that are not theirs.
func (p Plan) carryOut(ctx context.Context) (*Figures, error) {
	start := time.Now()
	f := newFigures(p)
	for _, s := range p.sets() {
		for _, present := range s.Present {
			for _, chain := range s.Chains {
				for _, contenders := range p.groups(s, chain, present) {
					if err := p.measureGroup(ctx, f, chain, present, contenders); err != nil {
						return nil, err
					}
				}
			}
		}
	}
	if err := p.measureData(ctx, f); err != nil {
		return nil, err
	}
	f.Took = time.Since(start)
	return f, nil
}

// groups returns the contenders whose hosts are there at once, and take turns, so that
// what else the machine does hits them alike. With many present that would be themselves.
func (p Plan) groups(s Set, chain string, present int) [][]string {
	contenders := p.contenders(s, chain, present)
	if present == 0 {
		return [][]string{contenders}
	}
	var groups [][]string
	for _, c := range contenders {
		groups = append(groups, []string{c})
	}
	return groups
}

// A seat is a host with its place in the plan.
type seat struct {
	*remote
	planned int
}

func (p Plan) measureGroup(ctx context.Context, f *Figures, chain string, present int, contenders []string) error {
	seats, err := p.seats(ctx, f, chain, present, contenders)
	defer func() {
		for _, s := range seats {
			s.stop()
		}
	}()
	if err != nil {
		return err
	}
	for _, s := range seats {
		if err := p.examine(f, s); err != nil {
			return err
		}
	}
	for n := range p.Rounds {
		p.say("%s, %d present: round %d of %d", chain, present, n+1, p.Rounds)
		for i := range seats {
			s := seats[(i+n)%len(seats)]
			if s.Contender == reference && n%p.ReferenceEvery != 0 {
				continue
			}
			if err := p.turn(f, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// seats makes the hosts; with an error, those that there are.
func (p Plan) seats(ctx context.Context, f *Figures, chain string, present int, contenders []string) ([]seat, error) {
	var seats []seat
	for _, contender := range contenders {
		p.say("%s: making the host of %s, %d present", chain, contender, present)
		r, err := startHost(ctx, Host{
			Contender: contender, Chain: chain, Present: present, Width: p.Width,
			BinDir: p.binDir(contender), Prefill: p.Prefill, Rates: Rates{In: 1e9, Out: 1e9},
		})
		if err != nil {
			return seats, err
		}
		seats = append(seats, seat{r, present})
		f.Present[Cell{Contender: contender, Chain: chain, Present: present}] = r.Present
		f.take(r.Host, present, false, r.first)
	}
	return seats, nil
}

// examine asks a host, once, what does not change from round to round.
func (p Plan) examine(f *Figures, s seat) error {
	if s.planned != 0 {
		return nil
	}
	programs, err := s.order(doPrograms, 1)
	if err != nil {
		return err
	}
	if programs.Programs != nil {
		f.Programs[Cell{Contender: s.Contender, Chain: s.Chain}] = programs.Programs
	}
	switch s.Contender {
	case floorName:
		same, err := s.order(doCompare, 1)
		if err != nil {
			return err
		}
		f.State[s.Chain] = same.State
	case reference, executed:
		started, err := s.order(doStart, p.Rounds*p.Alone)
		if err != nil {
			return err
		}
		f.Start[s.Contender] = append(f.Start[s.Contender], started.Add...)
	}
	return nil
}

func (p Plan) turn(f *Figures, s seat) error {
	alone, err := s.order(doAlone, p.Alone)
	if err != nil {
		return err
	}
	f.take(s.Host, s.planned, false, alone)
	together, err := s.order(doTogether, p.Width)
	if err != nil {
		return err
	}
	f.take(s.Host, s.planned, true, together)
	return nil
}
