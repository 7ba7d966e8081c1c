package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/containernetworking/cni/libcni"
	"github.com/seamnet/seam/cni"
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

// The chains by name, as the page tells them.
const (
	masqueraded = "ipMasq"
	forwarded   = "ipMasq + portmap"
)

// conflist is the network of a chain. It is the same for all contenders.
func conflist(chain string) []byte {
	plugins := []any{map[string]any{
		"type": "bridge", "bridge": bridgeName, "isDefaultGateway": true, "ipMasq": true,
		"ipam": map[string]any{
			"type":   "host-local",
			"ranges": [][]map[string]string{{{"subnet": fmt.Sprintf("%s/%d", gateway.Prev(), subnetBits)}}},
		},
	}}
	if chain == forwarded {
		plugins = append(plugins, map[string]any{
			"type": "portmap", "capabilities": map[string]bool{cni.CapabilityPorts: true},
		})
	}
	b, err := json.Marshal(map[string]any{"cniVersion": "1.0.0", "name": networkName, "plugins": plugins})
	if err != nil {
		panic(err) // nothing in it depends on anything
	}
	return b
}

func (p *pod) portMappings() []cni.PortMapping {
	var mappings []cni.PortMapping
	for i, host := range p.ports() {
		mappings = append(mappings, cni.PortMapping{HostPort: int(host), ContainerPort: int(podPorts[i]), Protocol: "tcp"})
	}
	return mappings
}

// execution runs plugins as most runtimes do: libcni executes them.
type execution struct {
	cni  *libcni.CNIConfig
	list *libcni.NetworkConfigList
}

func newExecution(binDir, chain string) (*execution, error) {
	list, err := libcni.NetworkConfFromBytes(conflist(chain))
	if err != nil {
		return nil, err
	}
	return &execution{libcni.NewCNIConfig([]string{binDir}, nil), list}, nil
}

func (e *execution) runtimeConf(p *pod) *libcni.RuntimeConf {
	return &libcni.RuntimeConf{
		ContainerID: p.id(), NetNS: p.path, IfName: podIfName,
		CapabilityArgs: map[string]any{cni.CapabilityPorts: p.portMappings()},
	}
}

func (e *execution) add(ctx context.Context, p *pod) error {
	_, err := e.cni.AddNetworkList(ctx, e.list, e.runtimeConf(p))
	return err
}

func (e *execution) del(ctx context.Context, p *pod) error {
	return e.cni.DelNetworkList(ctx, e.list, e.runtimeConf(p))
}
