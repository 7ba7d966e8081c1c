package plugins

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
)

// recorderType is the type by which the recorder is found.
const recorderType = "conformance-recorder"

// recorderScript writes down what it is called with, in a folder for each call, and answers
// what stands in the folder of answers. It is a script as a plugin may be of any kind.
const recorderScript = `#!/bin/sh
dir=%[1]s
n=1
while ! mkdir "$dir/$n" 2>/dev/null; do n=$((n+1)); done
env >"$dir/$n/env"
cat >"$dir/$n/stdin"
readlink /proc/self/ns/net >"$dir/$n/netns"
echo "conformance: asked for $CNI_COMMAND" >&2
if [ -e "$dir/$CNI_COMMAND.error" ]; then cat "$dir/$CNI_COMMAND.error"; exit 1; fi
if [ "$CNI_COMMAND" = ADD ]; then cat "$dir/answer"; fi
if [ "$CNI_COMMAND" = VERSION ]; then echo '{"cniVersion":"1.1.0","supportedVersions":["0.4.0","1.0.0","1.1.0"]}'; fi
exit 0
`

// recorderAddress is what it gives unless told otherwise.
const recorderAddress = `{"cniVersion":"1.1.0","ips":[{"address":"10.79.0.9/24","gateway":"10.79.0.1"}],"dns":{"nameservers":["192.0.2.53"]}}`

// A recorder is a plugin for addresses that stands in for another.
type recorder struct {
	h   *host
	dir string
}

// A record is one call of it.
type record struct {
	Env   map[string]string
	Stdin []byte
	NetNS string // as the kernel names it
}

// record puts a recorder in the place of the plugin's own for addresses. It skips the check
// if there is none.
func (t *trial) record() *recorder {
	if !t.m.delegates() {
		t.skip("%s has no ipam", t.m.Type)
	}
	r := &recorder{t.h, "/run/conformance/recorder"}
	t.h.Must(os.RemoveAll(r.dir))
	t.h.Must(os.MkdirAll(r.dir, 0o755))
	file := filepath.Join(r.dir, recorderType)
	t.h.Must(os.WriteFile(file, fmt.Appendf(nil, recorderScript, r.dir), 0o755))
	r.answers(recorderAddress)
	t.h.target.Dirs = append([]string{r.dir}, t.h.target.Dirs...)
	conf, err := wire.ParseObject(t.m.Conf.Bytes())
	t.h.Must(err)
	conf.Set("ipam", json.RawMessage(`{"type":"`+recorderType+`"}`))
	t.m.Conf = conf
	if next := t.m.program.finder; next != nil {
		t.m.program.finder = func(dirs []string) cni.Finder { return beforeOthers{file, dirs, next(dirs)} }
	}
	return r
}

// beforeOthers finds the recorder, and leaves the rest to another.
type beforeOthers struct {
	file string
	dirs []string
	next cni.Finder
}

func (b beforeOthers) Find(pluginType string) (cni.Plugin, error) {
	if pluginType == recorderType {
		return &wire.Executable{File: b.file, Dirs: b.dirs}, nil
	}
	return b.next.Find(pluginType)
}

// answers has the recorder answer ADD with that.
func (r *recorder) answers(result string) {
	r.h.Must(os.WriteFile(filepath.Join(r.dir, "answer"), []byte(result), 0o644))
}

// fails has it fail that verb, with code 117.
func (r *recorder) fails(verb string) {
	const object = `{"cniVersion":"1.1.0","code":117,"msg":"conformance says no"}`
	r.h.Must(os.WriteFile(filepath.Join(r.dir, verb+".error"), []byte(object), 0o644))
}

const recorderCode = cni.Code(117)

// calls returns those of a verb so far, in their order.
func (r *recorder) calls(verb string) []record {
	var all []record
	for n := 1; ; n++ {
		dir := filepath.Join(r.dir, fmt.Sprint(n))
		env, err := os.ReadFile(filepath.Join(dir, "env"))
		if err != nil {
			return all
		}
		c := record{Env: make(map[string]string)}
		for line := range strings.Lines(string(env)) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			c.Env[name] = value
		}
		c.Stdin, err = os.ReadFile(filepath.Join(dir, "stdin"))
		r.h.Must(err)
		ns, err := os.ReadFile(filepath.Join(dir, "netns"))
		r.h.Must(err)
		c.NetNS = strings.TrimSpace(string(ns))
		if c.Env["CNI_COMMAND"] == verb {
			all = append(all, c)
		}
	}
}
