package wire

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/seamnet/seam/cni"
)

// An Executable is a plugin in a file of its own. Its calls end with their context,
// within two seconds: the process group is stopped, see Command.Run.
//
// Errors are those the plugin printed, with its code; anything else that goes wrong
// with it has CodeInternal or CodeDecoding and names the file.
type Executable struct {
	File   string    // must hold a slash
	Dirs   []string  // CNI_PATH for the plugin
	Stderr io.Writer // gets what the plugin writes to stderr; nil: nobody
}

// Add calls the plugin with ADD.
func (e *Executable) Add(ctx context.Context, r *cni.Request) (*cni.Result, error) {
	out, err := e.call(ctx, "ADD", r)
	if err != nil {
		return nil, err
	}
	// Scripts lose exit codes; that must not make an empty result of an error.
	if said := decodeError(out); said != nil {
		return nil, said
	}
	result, err := DecodeResult(out, r.Config.Version)
	if err != nil {
		return nil, cni.Errorf(cni.CodeOf(err), "%s: %w; it printed %s", e.File, err, excerpt(out))
	}
	return result, nil
}

// Check calls the plugin with CHECK.
func (e *Executable) Check(ctx context.Context, r *cni.Request) error {
	_, err := e.call(ctx, "CHECK", r)
	return err
}

// Del calls the plugin with DEL.
func (e *Executable) Del(ctx context.Context, r *cni.Request) error {
	_, err := e.call(ctx, "DEL", r)
	return err
}

// GC calls the plugin with GC.
func (e *Executable) GC(ctx context.Context, r *cni.Request) error {
	_, err := e.call(ctx, "GC", r)
	return err
}

// Status calls the plugin with STATUS.
func (e *Executable) Status(ctx context.Context, r *cni.Request) error {
	_, err := e.call(ctx, "STATUS", r)
	return err
}

// Versions asks the plugin with VERSION which versions of the specification it
// speaks. One that does not know the question is from the time of 0.1.0.
func (e *Executable) Versions(ctx context.Context) ([]string, error) {
	// Plugins from before 0.4.0 want parameters even here.
	p := &params{command: "VERSION", netns: "dummy", ifname: "dummy", path: e.list()}
	out, err := e.command(p, []byte(`{"cniVersion":"`+latest+`"}`)).Run(ctx)
	if err != nil {
		if err.Error() == "unknown CNI_COMMAND: VERSION" {
			return []string{oldest}, nil
		}
		return nil, err
	}
	versions, err := decodeVersions(out)
	if err != nil {
		return nil, cni.Errorf(cni.CodeDecoding, "%s: %w", e.File, err)
	}
	return versions, nil
}

func (e *Executable) call(ctx context.Context, verb string, r *cni.Request) ([]byte, error) {
	input, err := Input(verb, r)
	if err != nil {
		return nil, err
	}
	out, err := e.command(paramsOf(verb, r, e.list()), input).Run(ctx)
	if err != nil {
		err = e.explain(ctx, verb, r.Config.Version, err)
	}
	return out, err
}

// explain returns an error that says which versions the plugin speaks, if that is why it
// failed. It asks the plugin only where that may be: plugins older than a verb take it for
// another one, and miss that one's parameters. What refused the version of an ADD did not
// begin it.
func (e *Executable) explain(ctx context.Context, verb, version string, err error) error {
	switch cni.CodeOf(err) {
	case cni.CodeIncompatibleVersion:
	case cni.CodeNotAvailable, cni.CodeLimited: // it knows STATUS
		return err
	default:
		if verb != "GC" && verb != "STATUS" {
			return err
		}
	}
	speaks, askErr := e.Versions(ctx)
	if askErr != nil || slices.Contains(speaks, version) {
		return err
	}
	err = cni.Errorf(cni.CodeIncompatibleVersion, "%s does not speak version %q, but %s: %w", e.File, version, strings.Join(speaks, ", "), err).
		WithDetails("put a newer plugin there, or give the network a version that all its plugins speak")
	if verb == "ADD" {
		return cni.Untouched(err)
	}
	return err
}

func (e *Executable) command(p *params, input []byte) Command {
	return Command{Argv: []string{e.File}, Env: p.environ(), Stdin: input, Stderr: e.Stderr}
}

func (e *Executable) list() string { return Path{Dirs: e.Dirs}.list() }
