package wire

import (
	"context"
	"io"

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
	return e.command(paramsOf(verb, r, e.list()), input).Run(ctx)
}

func (e *Executable) command(p *params, input []byte) Command {
	return Command{Argv: []string{e.File}, Env: p.environ(), Stdin: input, Stderr: e.Stderr}
}

func (e *Executable) list() string { return Path{Dirs: e.Dirs}.list() }
