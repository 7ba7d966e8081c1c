package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

// A watchWish is what is asked of ls --watch.
type watchWish struct {
	on       bool
	interval time.Duration
	sort     sorting
	whole    bool // container IDs are not cut
}

const (
	defaultInterval  = 2 * time.Second
	shortestInterval = 100 * time.Millisecond

	// settling is how long further changes are waited for after the first, so that a
	// hundred attachments that come at once are few frames.
	settling = 100 * time.Millisecond
)

func (w *watchWish) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&w.on, "watch", "w", false, "go on, with what passes each attachment; Ctrl-C ends it")
	cmd.Flags().DurationVar(&w.interval, "interval", defaultInterval, "`time` between two looks at the counters, with --watch")
	cmd.Flags().StringVar((*string)(&w.sort), "sort", string(byName), "`order` of attachments with --watch: name, traffic or age")
	offer(cmd, "sort", string(byName), string(byTraffic), string(byAge))
}

// validate reports flags that are none, or that say nothing without --watch.
func (w *watchWish) validate(cmd *cobra.Command) error {
	for _, flag := range []string{"interval", "sort"} {
		if !w.on && cmd.Flags().Changed(flag) {
			return usage("--%s is of use with --watch only", flag)
		}
	}
	if w.interval < shortestInterval {
		return usage("--interval %s: must be %s at least", w.interval, shortestInterval)
	}
	if all := sortings(); !slices.Contains(all, w.sort) {
		return usage("--sort %s: must be one of %v", w.sort, all)
	}
	return nil
}

// watch shows frame after frame until ctx ends, which is how it is meant to end, or nobody
// reads them any more.
func (c *cli) watch(ctx context.Context, args []string, wish watchWish) error {
	show, end := c.shower(wish)
	defer end()
	changed := watchFolders(c.watchedFolders())
	defer changed.close()
	tick := time.NewTicker(wish.interval)
	defer tick.Stop()
	m := meter{least: wish.interval / 2}
	for first := true; ; first = false {
		changed.refresh()
		f, err := c.frame(args, &m, wish.sort)
		if err != nil && first {
			return err
		}
		if err := show.frame(f); err != nil {
			return err
		}
		if out, ok := c.out.(*output); ok && out.err != nil {
			return nil // execute says so
		}
		for again := true; again; {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
				again = false
			case <-changed.wake:
				again = !sleep(ctx, settling)
			case s := <-show.signals():
				show.handle(s)
			}
		}
	}
}

// sleep reports whether the time has passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// watchedFolders are those in which attachments and networks come and go.
func (c *cli) watchedFolders() []string {
	folders := []string{c.flags.confDir}
	for _, dir := range c.flags.cacheDirs {
		folders = append(folders, filepath.Join(dir, "results"))
	}
	return folders
}

// shower returns what shows frames: the terminal's screen, or lines. end leaves the
// terminal as it was.
func (c *cli) shower(wish watchWish) (s shower, end func()) {
	head := fmt.Sprintf("every %s, by %s, Ctrl-C ends", wish.interval, wish.sort)
	if t := c.terminal(); t != nil && !c.flags.json {
		screen := &screen{to: t, picture: picture{head: head, whole: wish.whole, colours: c.getenv("NO_COLOR") == ""}}
		screen.enter()
		return screen, screen.leave
	}
	return lines{c, picture{whole: wish.whole}}, func() {}
}

// lines shows frames one after another, for pipes and programs.
type lines struct {
	c *cli
	picture
}

func (l lines) frame(f *frame) error {
	if l.c.flags.json {
		e := json.NewEncoder(l.c.out)
		e.SetEscapeHTML(false)
		return e.Encode(f)
	}
	for _, line := range l.draw(f) {
		fmt.Fprintln(l.c.out, line)
	}
	fmt.Fprintln(l.c.out)
	return nil
}
