package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/seamnet/seam/cni"
)

// A State is what the container runtime tells a hook (runtime specification 1.3,
// "State").
type State = specs.State

// ReadState reads the state that a container runtime writes to a hook's standard
// input.
func ReadState(r io.Reader) (*State, error) {
	var s State
	if err := json.NewDecoder(r).Decode(&s); err != nil {
		return nil, fmt.Errorf("container's state on standard input: %w", err)
	}
	if s.ID == "" {
		return nil, errors.New("container's state on standard input: no id")
	}
	return &s, nil
}

// ContainerID returns the name by which CNI, and so "seam ls", knows the container: its
// own or, if that holds characters that CNI does not allow, "oci-" and 24 digits of
// its SHA-256.
func ContainerID(id string) string {
	if cni.CheckContainerID(id) == nil {
		return id
	}
	return "oci-" + cni.Tag(id).Hash(idDigits)
}

const idDigits = 24

// bundle is the part of a bundle's config.json that matters here.
type bundle struct {
	Linux struct {
		Namespaces []specs.LinuxNamespace `json:"namespaces"`
	} `json:"linux"`
}

func readBundle(dir string) (*bundle, error) {
	file := filepath.Join(dir, "config.json")
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	var b bundle
	if err := json.Unmarshal(data, &b); err != nil {
		return nil, fmt.Errorf("bundle: %s: %w", file, err)
	}
	return &b, nil
}

// errHostNetwork is why a container cannot join networks.
var errHostNetwork = cni.Errorf(cni.CodeInvalidNetNS, "the container shares the host's network, which joins no other: "+
	"give it a network namespace of its own, or remove the annotations "+Prefix+"*")

// namespace returns the path of the container's network namespace: the one that the
// bundle names, as it is there when the process is gone, or the process's.
func (b *bundle) namespace(pid int) (string, error) {
	for _, ns := range b.Linux.Namespaces {
		switch {
		case ns.Type != specs.NetworkNamespace:
		case ns.Path != "":
			return ns.Path, nil
		case pid <= 0:
			return "", errors.New("container's state: no pid")
		default:
			return fmt.Sprintf("/proc/%d/ns/net", pid), nil
		}
	}
	return "", errHostNetwork
}
