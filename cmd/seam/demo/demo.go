// Package demo shows Seam's main job in a few seconds, on a host of its own:
// containers on networks that files describe, what reaches what, a picture of it, and
// the removal of everything.
//
// It is for people who want to see it work, and for no other use: it must run in
// network and mount namespaces of its own, which the caller makes. Connections are
// real ones; nothing is executed but a script that wraps a plugin. To look into it
// while it runs: nsenter -t PID -n -m.
package demo

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/plugin"
)

// A Show is one demonstration.
type Show struct {
	Out      io.Writer
	Self     string // this program's file: it becomes the plugins
	Host     *plugin.Host
	Builtins cni.Registry
	Install  func(dir string) error // puts Builtins into a folder, as programs
}

// stage is where the acts play.
type stage struct {
	Show
	rt        *seam.Runtime
	networks  map[string]*seam.Network
	pods      []*pod // in the order in which they came
	neighbour *pod
	before    string // what the host was like
	steps     []seam.Step
}

// An act is one thing that is shown.
type act struct {
	title string
	play  func(ctx context.Context, s *stage) (lines []string, err error)
	clean bool // played even if an act before it went wrong
}

// Run plays all acts and returns an error if one went wrong.
func (show Show) Run(ctx context.Context) error {
	s := &stage{Show: show, networks: map[string]*seam.Network{}}
	s.rt = &seam.Runtime{
		Plugins:  wire.Path{Dirs: []string{binDir}, Builtins: show.Builtins, Self: show.Self, Stderr: show.Out},
		CacheDir: cacheDir,
		Trace:    func(step seam.Step) { s.steps = append(s.steps, step) },
	}
	start, failed := time.Now(), 0
	for _, a := range acts() {
		if failed > 0 && !a.clean {
			continue
		}
		if !s.play(ctx, a) {
			failed++
		}
	}
	fmt.Fprintf(s.Out, "\n%d acts in %s\n", len(acts()), time.Since(start).Round(time.Millisecond))
	if failed > 0 {
		return fmt.Errorf("demo: %d acts went wrong, see ✗ above", failed)
	}
	return nil
}

func (s *stage) play(ctx context.Context, a act) bool {
	start := time.Now()
	lines, err := a.play(ctx, s)
	mark := "✓"
	if err != nil {
		mark = "✗"
	}
	fmt.Fprintf(s.Out, "%s %-62s %8s\n", mark, a.title, fmt.Sprintf("%.1f ms", float64(time.Since(start))/float64(time.Millisecond)))
	for _, l := range lines {
		fmt.Fprintf(s.Out, "    %s\n", l)
	}
	if err != nil {
		fmt.Fprintf(s.Out, "    %s\n", strings.ReplaceAll(err.Error(), "\n", "\n    "))
	}
	return err == nil
}
