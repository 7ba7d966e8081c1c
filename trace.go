package seam

import (
	"context"
	"sync"
	"time"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/span"
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

// Traced returns the finder with a span made of every call of what it finds, and of what
// that delegates to, where the call's context has a span.Recorder. It is for who calls
// plugins without a Runtime, which does so itself.
func Traced(plugins cni.Finder) cni.Finder {
	return (&steps{rt: &Runtime{Plugins: plugins}}).finder()
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

func (p *traced) call(ctx context.Context, verb Verb, r *cni.Request, call func(context.Context, *cni.Request) (*cni.Result, error)) (*cni.Result, error) {
	step := Step{Plugin: p.name, Verb: verb, Depth: p.depth, Start: p.steps.rt.now(), Undo: p.steps.undo}
	place := p.steps.begin(step)
	inner := *r
	inner.Plugins = p.deeper(r.Plugins)
	step.Executed = executable(p.plugin)
	ctx, end := step.startSpan(ctx, r)
	step.Result, step.Err = call(ctx, &inner)
	step.Duration = p.steps.rt.now().Sub(step.Start)
	end(step.Err)
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

// Since tells which versions the plugin speaks, as wire.Newcomer has it; empty: all.
func (p *traced) Since() string {
	if n, ok := p.plugin.(wire.Newcomer); ok {
		return n.Since()
	}
	return ""
}

func noResult(call func(context.Context, *cni.Request) error) func(context.Context, *cni.Request) (*cni.Result, error) {
	return func(ctx context.Context, r *cni.Request) (*cni.Result, error) { return nil, call(ctx, r) }
}

// Add implements cni.Plugin.
func (p *traced) Add(ctx context.Context, r *cni.Request) (*cni.Result, error) {
	return p.call(ctx, Add, r, p.plugin.Add)
}

// Check implements cni.Plugin.
func (p *traced) Check(ctx context.Context, r *cni.Request) error {
	_, err := p.call(ctx, Check, r, noResult(p.plugin.Check))
	return err
}

// Del implements cni.Plugin.
func (p *traced) Del(ctx context.Context, r *cni.Request) error {
	_, err := p.call(ctx, Del, r, noResult(p.plugin.Del))
	return err
}

// GC implements cni.Plugin.
func (p *traced) GC(ctx context.Context, r *cni.Request) error {
	_, err := p.call(ctx, GC, r, noResult(p.plugin.GC))
	return err
}

// Status implements cni.Plugin.
func (p *traced) Status(ctx context.Context, r *cni.Request) error {
	_, err := p.call(ctx, Status, r, noResult(p.plugin.Status))
	return err
}

// startSpan begins the span of an operation; end is to be called with what it failed by.
func (op *operation) startSpan(ctx context.Context, verb Verb) (inner context.Context, end func(error)) {
	inner, active := span.Start(ctx, string(verb)+" network "+op.network.Name, span.Internal)
	if active == nil {
		return ctx, func(error) {}
	}
	describe(active, verb, op.attachment(), op.container.Args)
	return inner, func(err error) { endSpan(active, err) }
}

// startSpan is that of a plugin's call.
func (s *Step) startSpan(ctx context.Context, r *cni.Request) (inner context.Context, end func(error)) {
	kind := span.Internal
	if s.Executed != "" {
		kind = span.Client
	}
	inner, active := span.Start(ctx, string(s.Verb)+" "+s.Plugin, kind)
	if active == nil {
		return ctx, func(error) {}
	}
	describe(active, s.Verb, r.Attachment, r.Args)
	active.Set("cni.plugin", s.Plugin)
	active.Set("cni.plugin.file", s.Executed)
	active.Set("cni.plugin.in_process", s.Executed == "")
	if s.Undo {
		active.Set("cni.undo", true)
	}
	return inner, func(err error) { endSpan(active, err) }
}

// describe tells what a span is about, in the names of OpenTelemetry's conventions where
// there are such.
func describe(s *span.Active, verb Verb, a cni.Attachment, args cni.Args) {
	s.Set("cni.verb", string(verb))
	s.Set("cni.network", a.Network)
	s.Set("container.id", a.ContainerID)
	s.Set("cni.ifname", a.IfName)
	s.Set("k8s.namespace.name", args.Get("K8S_POD_NAMESPACE"))
	s.Set("k8s.pod.name", args.Get("K8S_POD_NAME"))
}

func endSpan(s *span.Active, err error) {
	if err != nil {
		s.Set("cni.error.code", int(cni.CodeOf(err)))
	}
	s.End(err)
}
