package runtimes

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
)

const (
	witnessName = "witness"
	witnessFile = "/run/witness"
)

// A call is what a runtime said to the witness: to a plugin at the end of a chain
// that changes nothing.
type call struct {
	Command, ContainerID, IfName, NetNS, Args string

	Config struct {
		RuntimeConfig json.RawMessage
		PrevResult    json.RawMessage
	}
}

// serveWitness answers one call of the protocol and writes it down.
func serveWitness() int {
	stdin, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = record(stdin)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "witness:", err)
		return 1
	}
	return wire.Serve(context.Background(), witness{}, wire.Call{
		Env: os.Environ(), Stdin: bytes.NewReader(stdin), Stdout: os.Stdout, Stderr: os.Stderr,
		Plugins: func([]string) cni.Finder { return cni.Registry{} },
	})
}

func record(stdin []byte) error {
	c := call{
		Command: os.Getenv("CNI_COMMAND"), ContainerID: os.Getenv("CNI_CONTAINERID"), IfName: os.Getenv("CNI_IFNAME"),
		NetNS: os.Getenv("CNI_NETNS"), Args: os.Getenv("CNI_ARGS"),
	}
	if err := json.Unmarshal(stdin, &c.Config); err != nil {
		return err
	}
	f, err := os.OpenFile(witnessFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(append(encode(c), '\n'))
	return err
}

type witness struct{}

func (witness) Add(_ context.Context, r *cni.Request) (*cni.Result, error) { return r.Prev, nil }
func (witness) Check(context.Context, *cni.Request) error                  { return nil }
func (witness) Del(context.Context, *cni.Request) error                    { return nil }
func (witness) GC(context.Context, *cni.Request) error                     { return nil }
func (witness) Status(context.Context, *cni.Request) error                 { return nil }

// callWitness lets chains have the witness.
func (n *node) callWitness() {
	n.Helper()
	self, err := os.Executable()
	n.must(err)
	n.must(os.Symlink(self, filepath.Join(binDir, witnessName)))
}

// calls returns what the witness was asked for the container, by that command.
func (n *node) calls(command, containerID string) []call {
	n.Helper()
	var found []call
	for line := range strings.Lines(contents(witnessFile)) {
		var c call
		n.must(json.Unmarshal([]byte(line), &c))
		if c.Command == command && c.ContainerID == containerID {
			found = append(found, c)
		}
	}
	return found
}
