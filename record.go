package seam

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
)

// A Record is what is known of an attachment, from the file that the runtime which
// made it wrote into its cache folder: Seam, or any that uses libcni.
type Record struct {
	cni.Attachment
	Name         string // what people call the container; may be empty
	NetNS        string
	Args         cni.Args
	Capabilities map[string]json.RawMessage
	Config       []byte      // the network's list, as it was then
	Version      string      // of the specification, in which the result was written
	Result       *cni.Result // of the whole chain; nil if it cannot be read
	Created      time.Time   // if libcni made it, when the file was last written
	Steps        []Step      // nil if libcni made it
	File         string

	pod    podID
	broken error // why there is no Result
}

// Alive reports whether the container's network namespace still exists: at the
// recorded path and, if Seam made the record, as the same namespace. In doubt it
// does. Paths are those that this process sees, and may mean nothing in another
// mount namespace than the one that the runtime lives in.
func (r *Record) Alive() bool { return !r.pod.gone(r.NetNS) }

// Recorded returns the network as it was when the attachment was made, without
// plugins of a drop-in folder: for attachments whose network's file is gone.
func (r *Record) Recorded() (*Network, error) {
	n, err := parseList(r.Config, "")
	if err == nil && len(n.Plugins) == 0 { // made from a single plugin's file, before libcni knew lists only
		var list []byte
		if _, list, err = listOfOne(r.Config); err == nil {
			n, err = parseList(list, "")
		}
	}
	if err != nil {
		return nil, inFile(r.File, err)
	}
	return n, nil
}

// container returns what to detach, sparing a namespace that only has the recorded
// one's path: where its identity is not recorded, a process may have got the ID of
// another.
func (r *Record) container() Container {
	c := Container{ID: r.ContainerID, IfName: r.IfName, NetNS: r.NetNS, Args: r.Args, Capabilities: r.Capabilities}
	unknown := r.pod == podID{}
	if unknown && strings.HasPrefix(r.NetNS, "/proc/") || !unknown && !r.Alive() {
		c.NetNS = ""
	}
	return c
}

// cacheKind marks libcni's form; a file without it is a bare result, as libcni wrote
// before.
const cacheKind = "cniCacheV1"

// cacheFile is libcni's form of a Record, with one key that libcni passes over.
type cacheFile struct {
	Kind         string                     `json:"kind"`
	ContainerID  string                     `json:"containerId"`
	Config       []byte                     `json:"config"`
	IfName       string                     `json:"ifName"`
	Network      string                     `json:"networkName"`
	NetNS        string                     `json:"netns,omitempty"`
	Args         [][2]string                `json:"cniArgs,omitempty"`
	Capabilities map[string]json.RawMessage `json:"capabilityArgs,omitempty"`
	Result       json.RawMessage            `json:"result,omitempty"`
	Seam         *seamNotes                 `json:"seam,omitempty"`
}

type seamNotes struct {
	Name    string    `json:"name,omitempty"`
	Created time.Time `json:"created"`
	Pod     podID     `json:"pod"`
	Steps   []Step    `json:"steps"`
}

func (r *Record) encode() ([]byte, error) {
	result, err := wire.EncodeResult(r.Result, r.Version)
	if err != nil {
		return nil, err
	}
	form := cacheFile{
		Kind: cacheKind, ContainerID: r.ContainerID, Config: r.Config, IfName: r.IfName,
		Network: r.Network, NetNS: r.NetNS, Capabilities: r.Capabilities, Result: result,
		Seam: &seamNotes{Name: r.Name, Created: r.Created, Pod: r.pod, Steps: r.Steps},
	}
	for _, arg := range r.Args {
		form.Args = append(form.Args, [2]string{arg.Key, arg.Value})
	}
	return json.Marshal(form)
}

// errBareResult marks a file that says nothing but a result.
var errBareResult = errors.New("holds a result only")

// decodeRecord reads a file of the cache. With errBareResult only the result is
// set.
func decodeRecord(data []byte) (*Record, error) {
	var form cacheFile
	if err := json.Unmarshal(data, &form); err != nil || form.Kind != cacheKind {
		r := &Record{}
		if err := r.decodeResult(data); err != nil {
			return nil, err
		}
		return r, errBareResult
	}
	r := &Record{
		Attachment:   cni.Attachment{Network: form.Network, ContainerID: form.ContainerID, IfName: form.IfName},
		NetNS:        form.NetNS,
		Capabilities: form.Capabilities,
		Config:       form.Config,
	}
	for _, arg := range form.Args {
		r.Args = append(r.Args, cni.Arg{Key: arg[0], Value: arg[1]})
	}
	if form.Seam != nil {
		r.Name, r.Created, r.pod, r.Steps = form.Seam.Name, form.Seam.Created, form.Seam.Pod, form.Seam.Steps
	}
	if r.Name == "" {
		r.Name = podName(r.Args)
	}
	r.broken = r.decodeResult(form.Result)
	if r.NetNS == "" {
		r.NetNS = r.sandbox()
	}
	return r, nil
}

// sandbox returns the namespace that the result names, for records of a libcni that
// did not write it down: before 1.2, as in containerd 1.6 and Podman 4.3.
func (r *Record) sandbox() string {
	if r.Result != nil {
		for _, i := range r.Result.Interfaces {
			if i.Name == r.IfName {
				return i.Sandbox
			}
		}
	}
	return ""
}

func (r *Record) decodeResult(data []byte) error {
	var head struct {
		Version string `json:"cniVersion"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return fmt.Errorf("result: %w", err)
	}
	r.Version = versionOrFirst(head.Version)
	result, err := wire.DecodeResult(data, r.Version)
	if err != nil {
		return fmt.Errorf("result: %w", err)
	}
	r.Result = result
	return nil
}

// ReadAttachments returns the attachments that are recorded in a cache folder,
// sorted by network, container and interface. Bare results are passed over: they do
// not say whose they are. With an error it still returns what it could read; a
// folder that does not exist holds nothing.
func ReadAttachments(cacheDir string) ([]Record, error) {
	dir := filepath.Join(cacheDir, "results")
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("attachments: %w", err)
	}
	var all []Record
	var errs []error
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		r, err := readRecord(filepath.Join(dir, e.Name()))
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, errBareResult): // detached meanwhile, or nobody's
		case err != nil:
			errs = append(errs, err)
		default:
			all = append(all, *r)
		}
	}
	slices.SortFunc(all, func(a, b Record) int { return compare(a.Attachment, b.Attachment) })
	return all, errors.Join(errs...)
}

// Attachments returns the attachments that are recorded in the runtime's CacheDir,
// those of other runtimes included (see ReadAttachments).
func (rt *Runtime) Attachments() ([]Record, error) { return ReadAttachments(rt.cacheDir()) }

// readRecord reads one file. Errors that match neither fs.ErrNotExist nor
// errBareResult name it.
func readRecord(file string) (*Record, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("attachment: %w", err)
	}
	r, err := decodeRecord(data)
	if err != nil && !errors.Is(err, errBareResult) {
		return nil, &corruptError{file, err}
	}
	r.File = file
	if r.Created.IsZero() {
		if st, err := os.Stat(file); err == nil {
			r.Created = st.ModTime()
		}
	}
	return r, err
}

// corruptError is a record that cannot be read.
type corruptError struct {
	file string
	err  error
}

func (e *corruptError) Error() string { return "attachment " + e.file + ": " + e.err.Error() }
func (e *corruptError) Unwrap() error { return e.err }

func compare(a, b cni.Attachment) int {
	return cmp.Or(
		strings.Compare(a.Network, b.Network),
		strings.Compare(a.ContainerID, b.ContainerID),
		strings.Compare(a.IfName, b.IfName))
}
