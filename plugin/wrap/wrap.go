package wrap

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/netns"
)

// New returns the plugin.
func New() cni.Plugin { return wrap{} }

type wrap struct{}

// A layer is the plugin around another one in one call.
type layer struct {
	keys    *Keys
	timeout time.Duration
	plugin  cni.Plugin   // the wrapped one
	request *cni.Request // for it
}

func open(r *cni.Request) (*layer, error) {
	conf := Default()
	if err := r.Decode(conf); err != nil {
		return nil, err
	}
	l := &layer{keys: conf.keys()}
	var err error
	if l.timeout, err = l.keys.timeout(); err != nil {
		return nil, err
	}
	request := *r
	l.request = &request
	if conf.asIPAM() {
		request.Config, err = inner(r, l.keys)
	} else {
		request.Config, err = chained(r, l.keys)
	}
	if err != nil {
		return nil, err
	}
	l.plugin, err = r.Plugins.Find(request.Config.Type)
	if errors.Is(err, fs.ErrNotExist) {
		err = cni.Errorf(cni.CodeInvalidConfig, "wrap: delegate: %w", err)
	}
	return l, err
}

// chained returns the wrapped plugin's configuration as the runtime would compose it:
// of what the runtime gave to wrap, what that plugin asks for.
func chained(r *cni.Request, k *Keys) (cni.Config, error) {
	outer, err := wire.ParseObject(r.Config.JSON)
	if err != nil {
		return cni.Config{}, cni.Errorf(cni.CodeDecoding, "wrap: %w", err)
	}
	var capabilities map[string]json.RawMessage
	if given := outer.Get("runtimeConfig"); given != nil {
		if err := json.Unmarshal(given, &capabilities); err != nil {
			return cni.Config{}, cni.Errorf(cni.CodeDecoding, "wrap: runtimeConfig: %w", err)
		}
	}
	delegate, err := wire.ParseObject(patched(k.Delegate, k.PatchConfig))
	if err != nil {
		return cni.Config{}, cni.Errorf(cni.CodeInvalidConfig, "wrap: delegate: %w", err)
	}
	for _, key := range outer.Keys() {
		if key == "args" || strings.HasPrefix(key, "cni.dev/") { // the runtime's keys
			delegate.Set(key, patched(delegate.Get(key), outer.Get(key)))
		}
	}
	return wire.Compose(delegate.Bytes(), r.Config.Name, r.Config.Version, capabilities)
}

// inner returns the whole configuration with the wrapped IPAM plugin's object in
// place of wrap's.
func inner(r *cni.Request, k *Keys) (cni.Config, error) {
	config := r.Config
	whole, err := wire.ParseObject(config.JSON)
	if err != nil {
		return config, cni.Errorf(cni.CodeDecoding, "wrap: %w", err)
	}
	whole.Set("ipam", patched(k.Delegate, k.PatchConfig))
	config.JSON = whole.Bytes()
	config.Type, err = k.delegateType()
	return config, err
}

// Add fails if a command fails. Its caller then calls Del, and so undoes what the
// wrapped plugin made.
func (wrap) Add(ctx context.Context, r *cni.Request) (*cni.Result, error) {
	l, err := open(r)
	if err != nil {
		return nil, cni.Untouched(err)
	}
	if err := l.run(ctx, "ADD", l.keys.Before, false); err != nil {
		return nil, err
	}
	result, err := cni.Add(ctx, l.plugin, l.request)
	if err != nil && len(l.keys.Before) > 0 && cni.CodeOf(err) != cni.CodeExists {
		return nil, cni.Touched(err) // to undo what the commands did
	}
	if err != nil {
		return nil, err
	}
	if result, err = l.patch(result); err != nil {
		return nil, err
	}
	l.request.Prev = result
	if err := l.run(ctx, "ADD", l.keys.After, false); err != nil {
		return nil, err
	}
	return result, nil
}

func (wrap) Check(ctx context.Context, r *cni.Request) error {
	return around(ctx, "CHECK", r, cni.Plugin.Check, false)
}

func (wrap) Del(ctx context.Context, r *cni.Request) error {
	return around(ctx, "DEL", r, cni.Plugin.Del, true)
}

func (wrap) GC(ctx context.Context, r *cni.Request) error {
	return around(ctx, "GC", r, cni.Plugin.GC, true)
}

func (wrap) Status(ctx context.Context, r *cni.Request) error {
	return around(ctx, "STATUS", r, cni.Plugin.Status, false)
}

// around forwards a verb that has no result, with the commands around it. goOn is
// for verbs that clean up: they do all they can.
func around(ctx context.Context, verb string, r *cni.Request, call func(cni.Plugin, context.Context, *cni.Request) error, goOn bool) error {
	l, err := open(r)
	if err != nil {
		return err
	}
	var errs []error
	for _, step := range []func() error{
		func() error { return l.run(ctx, verb, l.keys.Before, goOn) },
		func() error { return call(l.plugin, ctx, l.request) },
		func() error { return l.run(ctx, verb, l.keys.After, goOn) },
	} {
		err := step()
		if err != nil && !goOn {
			return err
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// patch applies patchResult to the result's form in the request's version.
func (l *layer) patch(result *cni.Result) (*cni.Result, error) {
	if l.keys.PatchResult == nil {
		return result, nil
	}
	version := l.request.Config.Version
	data, err := wire.EncodeResult(result, version)
	if err != nil {
		return nil, fmt.Errorf("wrap: patchResult: %w", err)
	}
	if result, err = wire.DecodeResult(patched(data, l.keys.PatchResult), version); err != nil {
		return nil, cni.Errorf(cni.CodeInvalidConfig, "wrap: patchResult: %w", err)
	}
	return result, nil
}

// run runs those of the commands that are for the verb, up to the first that fails
// unless it goes on.
func (l *layer) run(ctx context.Context, verb string, commands []Command, goOn bool) error {
	var errs []error
	for _, c := range commands {
		if !c.runsOn(verb) {
			continue
		}
		err := l.runOne(ctx, verb, c)
		if err != nil && !goOn {
			return err
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// runOne runs a command. Its error never lets the caller think that nothing was made.
func (l *layer) runOne(ctx context.Context, verb string, c Command) error {
	cause := fmt.Errorf("longer than its timeout of %v: %w", l.timeout, context.DeadlineExceeded)
	ctx, cancel := context.WithTimeoutCause(ctx, l.timeout, cause)
	defer cancel()
	command, err := wire.NewCommand(verb, l.request, c.Run...)
	if err != nil {
		return err
	}
	run := func() error {
		_, err := command.Run(ctx)
		return err
	}
	if c.NetNS {
		run, err = inPod(l.request.NetNS, verb, run)
	}
	if err == nil {
		err = run()
	}
	return cni.Touched(err)
}

// inPod returns run moved into the pod's namespace. When that is gone at DEL, what a
// command could undo there is gone as well, and nothing is run.
func inPod(path, verb string, run func() error) (func() error, error) {
	pod, err := netns.Open(path)
	switch {
	case err == nil:
		return func() error {
			defer pod.Close()
			return pod.Do(run)
		}, nil
	case verb == "DEL" && errors.Is(err, fs.ErrNotExist):
		return func() error { return nil }, nil
	}
	return nil, cni.Errorf(cni.CodeInvalidNetNS, "wrap: %w", err)
}
