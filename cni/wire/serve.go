package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns"
)

// A Call is the process that a plugin's caller made for one call: where Serve finds
// the question and puts the answer. All fields are required but About.
type Call struct {
	Env            []string // as os.Environ returns it
	Stdin          io.Reader
	Stdout, Stderr io.Writer

	// Plugins returns the Finder for plugins to delegate to; dirs are those of CNI_PATH.
	Plugins func(dirs []string) cni.Finder

	// About is a line on the plugin, for a person who starts it without CNI_COMMAND.
	About string
}

// Serve answers one call of the protocol with p and returns the process's exit code.
// On stdout it writes one JSON value, the result or an error object, or nothing. When
// ADD fails, by p, by its panic, by the end of ctx or because its result could not
// be written, it is rolled back before Serve returns.
//
// The caller ends ctx on SIGTERM. It should also catch SIGPIPE, or a caller that went
// away ends the process before the roll-back.
func Serve(ctx context.Context, p cni.Plugin, c Call) (exitCode int) {
	a := &answer{plugin: p, call: c, params: parseParams(c.Env), version: latest}
	var err error
	switch a.params.command {
	case "":
		_, err = fmt.Fprintf(c.Stderr, "%s\nCNI protocol versions supported: %s\n", c.About, strings.Join(versionsOf(p), ", "))
	case "VERSION":
		_, err = c.Stdout.Write(encodeVersions(versionInput(c.Stdin), versionsOf(p)))
	default:
		err = a.run(ctx)
	}
	if err == nil {
		return 0
	}
	a.fail(err)
	return 1
}

// versionInput returns the input of VERSION, which may be missing. A person who
// asks at a terminal is not made to type it.
func versionInput(stdin io.Reader) []byte {
	if f, ok := stdin.(*os.File); ok {
		if st, err := f.Stat(); err != nil || st.Mode()&os.ModeCharDevice != 0 {
			return nil
		}
	}
	data, err := io.ReadAll(stdin)
	if err != nil {
		return nil
	}
	return data
}

// answer is one call on its way. As a cni.Plugin it is the served one, whose Add is
// done only when its result is written and whose panics are errors.
type answer struct {
	plugin  cni.Plugin
	call    Call
	params  params
	version string // of the request, as soon as it is known
	written bool   // stdout has, or may have, something
}

// run checks in the order in which the reference library does, because the order
// decides which code a caller sees.
func (a *answer) run(ctx context.Context) error {
	if err := a.params.check(); err != nil {
		return err
	}
	data, err := io.ReadAll(a.call.Stdin)
	if err != nil {
		return cni.Errorf(cni.CodeIO, "configuration on stdin: %w", err)
	}
	o, err := ParseObject(data)
	if err != nil {
		return cni.Errorf(cni.CodeDecoding, "configuration on stdin: %w", err)
	}
	version, versionErr := o.String("cniVersion")
	if versionErr == nil {
		a.version = version
	}
	name, err := o.String("name")
	if err != nil {
		return cni.Errorf(cni.CodeDecoding, "configuration: %w", err)
	}
	if err := cni.CheckNetworkName(name); err != nil {
		return err
	}
	if versionErr != nil {
		return cni.Errorf(cni.CodeDecoding, "configuration: %w", versionErr)
	}
	if err := checkVersion(a.params.command, version); err != nil {
		return err
	}
	if _, err := among(version, versionsOf(a.plugin)); err != nil {
		return err
	}
	r, err := a.request(name, o)
	if err != nil {
		return err
	}
	return a.dispatch(ctx, r)
}

// checkVersion returns an error unless the version has the command. Where
// a command came later, a version that cannot be compared has CodeDecoding.
func checkVersion(command, version string) error {
	least := ""
	switch command {
	case "CHECK":
		least = "0.4.0"
	case "GC", "STATUS":
		least = "1.1.0"
	}
	if ok, err := AtLeast(version, least); least != "" && err != nil {
		return err
	} else if least != "" && !ok {
		return cni.Errorf(cni.CodeIncompatibleVersion, "%s is not allowed by CNI version %q", command, version).
			WithDetails("it came with %s", least)
	}
	return nil
}

// request takes apart what the runtime put together. DEL must clean up whatever it
// can, so what it could do without may be unreadable there.
func (a *answer) request(name string, o *Object) (*cni.Request, error) {
	pluginType, err := o.String("type")
	if err != nil {
		return nil, cni.Errorf(cni.CodeDecoding, "configuration: %w", err)
	}
	version, _ := known(a.version)
	r := &cni.Request{
		Attachment: cni.Attachment{Network: name},
		Plugins:    a.call.Plugins(filepath.SplitList(a.params.path)),
	}
	switch a.params.command {
	case "ADD", "CHECK", "DEL":
		r.ContainerID, r.IfName, r.NetNS = a.params.containerID, a.params.ifname, a.params.netns
		lenient := a.params.command == "DEL"
		if r.Args, err = cni.ParseArgs(a.params.args); err != nil && !lenient {
			return nil, err
		}
		if r.Prev, err = decodePrev(o.Get(keyPrev), version); err != nil && !lenient {
			return nil, err
		}
	case "GC":
		if r.Valid, err = decodeValid(o, name); err != nil {
			return nil, err
		}
	}
	o.Delete(keyPrev, keyValid, keyOldValid)
	r.Config = cni.Config{Name: name, Version: version, Type: pluginType, JSON: o.Bytes()}
	return r, nil
}

func decodePrev(data json.RawMessage, version string) (*cni.Result, error) {
	if data == nil || bytes.Equal(data, []byte("null")) {
		return nil, nil
	}
	r, err := DecodeResult(data, version)
	if err != nil {
		return nil, cni.Errorf(cni.CodeOf(err), "configuration: prevResult: %w", err)
	}
	return r, nil
}

func (a *answer) dispatch(ctx context.Context, r *cni.Request) error {
	switch a.params.command {
	case "ADD":
		if err := a.refuseOwn(r.NetNS); err != nil {
			return err
		}
		_, err := cni.Add(ctx, a, r)
		return err
	case "DEL":
		if err := a.refuseOwn(r.NetNS); err != nil {
			return err
		}
		return a.Del(ctx, r)
	case "CHECK":
		return a.Check(ctx, r)
	case "GC":
		return a.GC(ctx, r)
	case "STATUS":
		return a.Status(ctx, r)
	}
	// The wording is what callers know plugins by that are older than VERSION.
	return cni.Errorf(cni.CodeInvalidEnvironment, "unknown CNI_COMMAND: %s", a.params.command)
}

// refuseOwn returns an error with CodeInvalidNetNS if the path leads to the
// namespace that this process is in: the plugin would take the host's links for the
// pod's. A path that leads nowhere is the plugin's to judge.
func (a *answer) refuseOwn(path string) error {
	if path == "" || a.params.overridden() {
		return nil
	}
	pod, err := netns.Open(path)
	if err != nil {
		return nil
	}
	defer pod.Close()
	own, err := netns.Current()
	if err != nil {
		return cni.Errorf(cni.CodeInvalidNetNS, "%w", err)
	}
	defer own.Close()
	if same, err := pod.Same(own); err != nil || !same {
		return err
	}
	return cni.Errorf(cni.CodeInvalidNetNS, "CNI_NETNS %s: is the namespace that the plugin itself runs in", path).
		WithDetails("give the container's, or set CNI_NETNS_OVERRIDE=1")
}

// fail writes the error object, to stderr if stdout is spoilt.
func (a *answer) fail(err error) {
	var indented bytes.Buffer
	_ = json.Indent(&indented, EncodeError(err, a.version), "", "    ")
	indented.WriteByte('\n')
	out := a.call.Stdout
	if a.written {
		out = a.call.Stderr
	}
	_, _ = out.Write(indented.Bytes()) // there is nobody left to tell
}

func (a *answer) Add(ctx context.Context, r *cni.Request) (result *cni.Result, err error) {
	defer a.recover(&err)
	if result, err = a.plugin.Add(ctx, r); err != nil {
		return nil, err
	}
	data, err := EncodeResult(result, r.Config.Version)
	if err != nil {
		return nil, err
	}
	var indented bytes.Buffer
	_ = json.Indent(&indented, data, "", "    ")
	indented.WriteByte('\n')
	a.written = true
	if _, err := a.call.Stdout.Write(indented.Bytes()); err != nil {
		return nil, cni.Errorf(cni.CodeIO, "result to stdout: %w", err)
	}
	return result, nil
}

func (a *answer) Check(ctx context.Context, r *cni.Request) (err error) {
	defer a.recover(&err)
	return a.plugin.Check(ctx, r)
}

func (a *answer) Del(ctx context.Context, r *cni.Request) (err error) {
	defer a.recover(&err)
	return a.plugin.Del(ctx, r)
}

func (a *answer) GC(ctx context.Context, r *cni.Request) (err error) {
	defer a.recover(&err)
	return a.plugin.GC(ctx, r)
}

func (a *answer) Status(ctx context.Context, r *cni.Request) (err error) {
	defer a.recover(&err)
	return a.plugin.Status(ctx, r)
}

// recover makes an error of a panic, and shows the trace on stderr only.
func (a *answer) recover(err *error) {
	if v := recover(); v != nil {
		fmt.Fprintf(a.call.Stderr, "panic: %v\n%s", v, debug.Stack())
		*err = cni.Errorf(cni.CodeInternal, "panic in the plugin: %v", v).WithDetails("this is a fault of the program; the trace is on stderr")
	}
}
