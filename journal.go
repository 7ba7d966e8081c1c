package seam

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
)

// An intent says what an operation is about to do, with all that is needed to undo
// it. It is written before the first plugin is called, into the file that locks the
// container; a lock that is free with an intent in its file is an operation that was
// killed.
//
// The file holds one JSON object a line: the intent, then the result of the chain so
// far, again and again. A line that is not whole was being written when the end
// came; of the intent this means that no plugin had been called. Nothing is synced to a
// disk: what a power cut takes from the journal it takes from the kernel, too.
type intent struct {
	Verb         Verb                       `json:"verb"`
	Network      *Network                   `json:"network"`
	ContainerID  string                     `json:"containerID"`
	IfName       string                     `json:"ifname"`
	NetNS        string                     `json:"netns"`
	Pod          podID                      `json:"pod"`
	Args         cni.Args                   `json:"args,omitempty"`
	Capabilities map[string]json.RawMessage `json:"capabilities,omitempty"`
	Started      time.Time                  `json:"started"`
	PID          int                        `json:"pid"`
}

// journalVersion is the version of the specification that has a form for all of a
// result.
const journalVersion = "1.1.0"

func (in *intent) attachment() cni.Attachment {
	return cni.Attachment{Network: in.Network.Name, ContainerID: in.ContainerID, IfName: in.IfName}
}

// container returns what to detach. A namespace that has only the path of the one
// that was meant is left alone.
func (in *intent) container() Container {
	c := Container{ID: in.ContainerID, IfName: in.IfName, NetNS: in.NetNS, Args: in.Args, Capabilities: in.Capabilities}
	if in.Pod.gone(in.NetNS) {
		c.NetNS = ""
	}
	return c
}

// journalFile returns the path of a container's lock and intent.
func (rt *Runtime) journalFile(containerID string) string {
	return filepath.Join(rt.journalDir(), cni.Tag(containerID).Hash(hashDigits))
}

const failedSuffix = ".failed"

// failedFile returns the path to which an intent is moved that could not be undone,
// so that the container's other attachments are not held up by it.
func (rt *Runtime) failedFile(a cni.Attachment) string {
	return rt.journalFile(a.ContainerID) + "." + a.Tag().Hash(hashDigits) + failedSuffix
}

// inFlight reports whether a name in the journal is a container's, not that of a
// failed intent.
func inFlight(name string) bool { return !strings.Contains(name, ".") }

// declare writes the intent.
func (l *lock) declare(in *intent) error {
	line, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return l.appendLine(line)
}

// progress notes the result of the chain so far. Plugins that keep no state of their
// own need it to undo what they did.
func (l *lock) progress(r *cni.Result) error {
	line, err := wire.EncodeResult(r, journalVersion)
	if err != nil {
		return err
	}
	return l.appendLine(line)
}

func (l *lock) appendLine(line []byte) error {
	if _, err := l.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

var errNoIntent = errors.New("no intent")

// readIntent reads the journal's file from its beginning. The error is errNoIntent
// if there is none, or none that was written whole.
func readIntent(f *os.File) (*intent, *cni.Result, error) {
	data, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
	if err != nil {
		return nil, nil, err
	}
	return parseIntent(data)
}

func parseIntent(data []byte) (*intent, *cni.Result, error) {
	first, rest, whole := bytes.Cut(data, []byte("\n"))
	var in intent
	if !whole || json.Unmarshal(first, &in) != nil || in.Network == nil {
		return nil, nil, errNoIntent
	}
	var last *cni.Result
	for line := range bytes.Lines(rest) {
		if r, err := wire.DecodeResult(line, journalVersion); err == nil {
			last = r
		}
	}
	return &in, last, nil
}
