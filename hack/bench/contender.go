package main

import (
	"context"

	"github.com/containernetworking/cni/libcni"
)

// A contender attaches pods to the network and detaches them, its own way. Both
// may be called for several pods at a time.
type contender interface {
	add(ctx context.Context, p *pod) error
	del(ctx context.Context, p *pod) error
}

// The contenders by name.
const (
	reference = "reference"
	executed  = "Seam executed"
	inProcess = "Seam in process"
	floorName = "floor"
)

// execution runs plugins as most runtimes do: libcni executes them.
type execution struct {
	host Host
	cni  *libcni.CNIConfig
	list *libcni.NetworkConfigList
}

func newExecution(h Host) (*execution, error) {
	list, err := libcni.NetworkConfFromBytes(conflist(h.Chain))
	if err != nil {
		return nil, err
	}
	return &execution{h, libcni.NewCNIConfig([]string{h.BinDir}, nil), list}, nil
}

func (e *execution) runtimeConf(p *pod) *libcni.RuntimeConf {
	return &libcni.RuntimeConf{
		ContainerID: p.id(), NetNS: p.path, IfName: podIfName,
		CapabilityArgs: e.host.capabilities(p),
	}
}

func (e *execution) add(ctx context.Context, p *pod) error {
	_, err := e.cni.AddNetworkList(ctx, e.list, e.runtimeConf(p))
	return err
}

func (e *execution) del(ctx context.Context, p *pod) error {
	return e.cni.DelNetworkList(ctx, e.list, e.runtimeConf(p))
}
