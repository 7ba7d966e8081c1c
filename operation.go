package seam

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
)

// operation is one attach, detach or check in progress. It holds two locks: the
// network's, shared, which keeps Collect away, and the container's. They are always
// taken in this order; who holds a container's lock never waits for a network's.
type operation struct {
	rt        *Runtime
	network   *Network
	container Container
	pod       podID // of container.NetNS; zero if it was not asked

	networkLock *lock // nil: the caller holds it
	journal     *lock // the container's lock, and what its file says
	steps       steps
}

func (rt *Runtime) operation(n *Network, c Container) *operation {
	return &operation{rt: rt, network: n, container: c, steps: steps{rt: rt}}
}

func (op *operation) attachment() cni.Attachment { return op.container.Attachment(op.network.Name) }

// check reports what makes an operation on the container impossible, before
// anything is touched. libcni refuses an empty container ID with code 3, which means
// that nothing need be cleaned up; the specification's code for a parameter is 4.
func (op *operation) check() error {
	if err := checkNetwork(op.network); err != nil {
		return err
	}
	if err := cni.CheckContainerID(op.container.ID); err != nil {
		return err
	}
	if err := cni.CheckIfName(op.container.IfName); err != nil {
		return err
	}
	return checkCapabilities(op.container.Capabilities)
}

func checkNetwork(n *Network) error {
	if err := cni.CheckNetworkName(n.Name); err != nil {
		return err
	}
	if known := wire.SupportedVersions(); !slices.Contains(known, n.Version) {
		return cni.Errorf(cni.CodeIncompatibleVersion, "network %q: unknown version %q", n.Name, n.Version).
			WithDetails(`"cniVersion" may be one of %v`, known)
	}
	if len(n.Plugins) == 0 {
		return cni.Errorf(cni.CodeInvalidConfig, "network %q: no plugins", n.Name)
	}
	return nil
}

// checkCapabilities reports a capability argument that is not JSON: spliced in as it
// is, it would spoil the configuration of every plugin that takes it.
func checkCapabilities(capabilities map[string]json.RawMessage) error {
	for _, name := range slices.Sorted(maps.Keys(capabilities)) {
		if !json.Valid(capabilities[name]) {
			return cni.Errorf(cni.CodeInvalidEnvironment, "capability argument %q: not JSON: %.60q", name, capabilities[name])
		}
	}
	return nil
}

// enter takes the locks and undoes what killed operations left: of any container
// that is idle, and of this one in any case.
func (op *operation) enter(ctx context.Context) (err error) {
	op.rt.recoverDead(ctx)
	op.networkLock, err = lockFile(ctx, op.rt.networkFile(op.network.Name), true)
	if err != nil {
		return err
	}
	if err := op.lockContainer(ctx, op.network.Name); err != nil {
		op.leave(false)
		return err
	}
	return nil
}

// lockContainer takes the container's lock and undoes what a killed operation left
// there; held is the network whose lock is held.
func (op *operation) lockContainer(ctx context.Context, held string) (err error) {
	op.journal, err = lockFile(ctx, op.rt.journalFile(op.container.ID), false)
	if err != nil {
		return err
	}
	err = op.rt.recoverLocked(ctx, op.journal, held)
	if errors.Is(err, errBusy) {
		err = cni.Errorf(cni.CodeTryAgain, "container %s: an operation of its was killed, on a network that is being collected", op.container.ID)
	}
	if err != nil {
		op.journal.release()
		op.journal = nil
	}
	return err
}

// leave lets go of the locks, and so of the intent. tidy also removes the network's
// lock file if nobody else uses it.
func (op *operation) leave(tidy bool) {
	if op.journal != nil {
		op.journal.remove()
	}
	switch {
	case op.networkLock == nil:
	case tidy:
		op.networkLock.remove()
	default:
		op.networkLock.release()
	}
}

// declare journals what is about to be done.
func (op *operation) declare(verb Verb) error {
	c := &op.container
	return op.journal.declare(&intent{
		Verb: verb, Network: op.network, ContainerID: c.ID, IfName: c.IfName, NetNS: c.NetNS, Pod: op.pod,
		Args: c.Args, Capabilities: c.Capabilities, Started: op.rt.now(), PID: os.Getpid(),
	})
}

// find finds the plugin at that place of the chain.
func (op *operation) find(place int) (*traced, error) {
	p, err := op.steps.finder().find(op.network.Plugins[place].Type)
	if err != nil && errors.Is(err, fs.ErrNotExist) {
		return nil, cni.Errorf(cni.CodeInvalidConfig, "%w", err)
	}
	return p, err
}

// request returns what the plugin at that place of the chain is asked.
func (op *operation) request(place int, prev *cni.Result) (*cni.Request, error) {
	config, err := wire.Compose(op.network.Plugins[place].JSON, op.network.Name, op.network.Version, op.container.Capabilities)
	if err != nil {
		return nil, err
	}
	return &cni.Request{
		Attachment: op.attachment(),
		NetNS:      op.container.NetNS,
		Args:       op.container.Args,
		Config:     config,
		Prev:       prev,
		Plugins:    op.steps.finder(),
	}, nil
}

// bounded calls a plugin within the runtime's time for one call. The call is not
// abandoned when the time is up: executed plugins are stopped by then, and built-in
// ones end soon by themselves, as all they wait for is the kernel or ctx. To return
// before the plugin does would let it change the kernel while it is being undone.
func (op *operation) bounded(ctx context.Context, place int, call func(context.Context) error) error {
	limit := op.rt.timeout()
	inner, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := call(inner)
	if err == nil {
		return nil
	}
	if inner.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("stopped after %v: %w", limit, err)
	}
	return fmt.Errorf("plugin %d, %s: %w", place+1, op.network.Plugins[place].Type, err)
}

// atLeast reports whether the network's version is that one or newer; operations
// begin by checking that it is a version.
func (n *Network) atLeast(least string) bool {
	ok, err := wire.AtLeast(n.Version, least)
	return ok && err == nil
}
