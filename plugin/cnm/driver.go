package cnm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cnm"
	"github.com/seamnet/seam/cnm/wire"
)

// callTime bounds one call of a driver. A runtime waits for minutes at most, and a DEL may
// be four calls.
const callTime = 20 * time.Second

// find returns the driver of that name, of either kind. Empty dirs are the engines'.
func find(name string, dirs []string) (*wire.Client, error) {
	if len(dirs) == 0 {
		return bounded(wire.Find(name, wire.DefaultDirs()))
	}
	var first error
	for _, dir := range dirs {
		client, err := bounded(wire.Find(name, wire.Dirs{Sockets: dir, Specs: []string{dir}}))
		if err == nil || !errors.Is(err, wire.ErrNoDriver) {
			return client, err
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

func bounded(client *wire.Client, err error) (*wire.Client, error) {
	if client != nil {
		client.Timeout = callTime
	}
	return client, err
}

// ready reports why the driver cannot serve networks of this plugin.
func ready(ctx context.Context, d cnm.Driver, name string) error {
	c, err := d.Capabilities(ctx)
	if err == nil && c.Scope == cnm.ScopeGlobal {
		err = cni.Errorf(cni.CodeInvalidConfig, "driver %s: its networks span a swarm (scope global): only an engine in a swarm can make them", name).
			WithDetails("name a driver whose scope is local")
	}
	return err
}

// unanswered reports whether err says that a driver was not there, or did not answer: what
// was asked is to be asked again. Every other error is its answer.
func unanswered(err error) bool {
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return true
	}
	return slices.ContainsFunc([]error{
		wire.ErrNoDriver, context.DeadlineExceeded, context.Canceled, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed,
	}, func(target error) bool { return errors.Is(err, target) })
}

// A stage is how far a verb came that makes something.
type stage string

const (
	begun stage = "begun" // the driver was asked, or is about to be: nobody knows
	done  stage = "done"
)

// A farewell collects what drivers answer to verbs that take away. Engines pass over it
// all and never ask again, so a driver may refuse what is gone already. Here, a driver
// that does not answer is asked again by the next DEL or GC. What it refuses although it
// had made it is told once, and passed over then: a pod must be able to end.
type farewell struct {
	told    bool // refusals were told
	silent  []error
	refused []error
}

// heard notes the outcome of a verb against what came to that stage, and reports whether it
// is over and done with.
func (f *farewell) heard(err error, s stage) bool {
	switch {
	case err == nil:
		return true
	case unanswered(err):
		f.silent = append(f.silent, err)
		return false
	case s == done && !f.told:
		f.refused = append(f.refused, err)
		return false
	}
	return true
}

// err returns what is to be told, nil if nothing is left to do. The file holds what is.
func (f *farewell) err(file string) error {
	if len(f.silent) > 0 {
		return cni.Errorf(cni.CodeTryAgain, "%w", errors.Join(append(f.silent, f.refused...)...)).
			WithDetails("it is known what is to be removed: repeat this when the driver answers; if it never will again, remove %s", file)
	}
	if len(f.refused) > 0 {
		return fmt.Errorf("%w; the next time this is passed over", errors.Join(f.refused...))
	}
	return nil
}
