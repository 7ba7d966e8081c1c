package seam

import (
	"context"
	"sync"
	"time"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
)

// A Verb is an operation of the specification.
type Verb string

const (
	Add    Verb = "ADD"
	Check  Verb = "CHECK"
	Del    Verb = "DEL"
	GC     Verb = "GC"
	Status Verb = "STATUS"
)

// A Step is one plugin call of an operation, finished.
type Step struct {
	Plugin   string        `json:"plugin"` // its type
	Verb     Verb          `json:"verb"`
	Depth    int           `json:"depth,omitempty"` // 0: of the chain; 1: called by one of these; and so on
	Start    time.Time     `json:"start"`
	Duration time.Duration `json:"duration"`           // nanoseconds; that of its delegates included
	Executed string        `json:"executed,omitempty"` // the executable's path; empty: in process
	Undo     bool          `json:"-"`                  // part of a roll-back
	Err      error         `json:"-"`
	Result   *cni.Result   `json:"-"` // of a successful ADD; not to be changed
}

// steps collects the plugin calls of one operation, in the order of their start.
type steps struct {
	rt   *Runtime
	undo bool

	mu  sync.Mutex // a plugin may call several delegates at once
	all []Step
}

// finder returns rt.Plugins with every call of what it finds recorded.
func (s *steps) finder() *tracer { return &tracer{steps: s, finder: s.rt.Plugins} }

// begin keeps a place for a call, so that it comes before those of its delegates.
func (s *steps) begin(step Step) (place int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, step)
	return len(s.all) - 1
}

func (s *steps) end(place int, step Step) {
	s.mu.Lock()
	s.all[place] = step
	s.mu.Unlock()
	if s.rt.Trace != nil {
		s.rt.Trace(step)
	}
}

// tracer is the Finder of a chain, or of one of its plugins for what it delegates
// to.
type tracer struct {
	steps  *steps
	finder cni.Finder
	depth  int
}

// Unwrap returns the finder proper, for who asks it for more than plugins.
func (t *tracer) Unwrap() cni.Finder { return t.finder }

// Find implements cni.Finder.
func (t *tracer) Find(pluginType string) (cni.Plugin, error) { return t.find(pluginType) }

func (t *tracer) find(pluginType string) (*traced, error) {
	p, err := t.finder.Find(pluginType)
	if err != nil {
		return nil, err
	}
	return &traced{tracer: t, plugin: p, name: pluginType}, nil
}

// traced is a plugin whose calls are recorded and whose delegates are traced one
// deeper.
type traced struct {
	*tracer
	plugin cni.Plugin
	name   string
}

func (p *traced) call(verb Verb, r *cni.Request, call func(*cni.Request) (*cni.Result, error)) (*cni.Result, error) {
	step := Step{Plugin: p.name, Verb: verb, Depth: p.depth, Start: p.steps.rt.now(), Undo: p.steps.undo}
	place := p.steps.begin(step)
	inner := *r
	inner.Plugins = p.deeper(r.Plugins)
	step.Result, step.Err = call(&inner)
	step.Duration = p.steps.rt.now().Sub(step.Start)
	step.Executed = executable(p.plugin)
	p.steps.end(place, step)
	return step.Result, step.Err
}

// deeper returns the finder for what the plugin delegates to: the same as the
// request has, traced one deeper.
func (p *traced) deeper(finder cni.Finder) *tracer {
	if t, ok := finder.(*tracer); ok {
		finder = t.finder
	}
	return &tracer{steps: p.steps, finder: finder, depth: p.depth + 1}
}

// executable returns the file of a plugin that is executed, else "".
func executable(p cni.Plugin) string {
	if e, ok := p.(*wire.Executable); ok {
		return e.File
	}
	return ""
}

// Add implements cni.Plugin.
func (p *traced) Add(ctx context.Context, r *cni.Request) (*cni.Result, error) {
	return p.call(Add, r, func(r *cni.Request) (*cni.Result, error) { return p.plugin.Add(ctx, r) })
}

// Check implements cni.Plugin.
func (p *traced) Check(ctx context.Context, r *cni.Request) error {
	_, err := p.call(Check, r, func(r *cni.Request) (*cni.Result, error) { return nil, p.plugin.Check(ctx, r) })
	return err
}

// Del implements cni.Plugin.
func (p *traced) Del(ctx context.Context, r *cni.Request) error {
	_, err := p.call(Del, r, func(r *cni.Request) (*cni.Result, error) { return nil, p.plugin.Del(ctx, r) })
	return err
}

// GC implements cni.Plugin.
func (p *traced) GC(ctx context.Context, r *cni.Request) error {
	_, err := p.call(GC, r, func(r *cni.Request) (*cni.Result, error) { return nil, p.plugin.GC(ctx, r) })
	return err
}

// Status implements cni.Plugin.
func (p *traced) Status(ctx context.Context, r *cni.Request) error {
	_, err := p.call(Status, r, func(r *cni.Request) (*cni.Result, error) { return nil, p.plugin.Status(ctx, r) })
	return err
}
