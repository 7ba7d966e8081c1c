package plugins_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/plugin"
	"github.com/seamnet/seam/plugin/all"
)

// A flaw is how a plugin misbehaves in what it says; what is nil is as it should be.
type flaw struct {
	before   func(c *faultyCall)         // changes what it is asked, or does not ask it
	delegate func(cni.Plugin) cni.Plugin // changes what it delegates to
	after    func(c *faultyCall)         // changes what it answers
}

// A faultyCall is a call on its way.
type faultyCall struct {
	Verb           string
	Stdin          []byte
	Stdout, Stderr bytes.Buffer
	Exit           int
	Done           bool // set by before: the plugin is not asked
}

// ends ends the call with success, or as a plugin fails.
func (c *faultyCall) ends(success bool) {
	c.Done = true
	if !success {
		c.says(1, `{"cniVersion":"1.1.0","code":999,"msg":"at fault"}`)
	}
}

func (c *faultyCall) says(exit int, stdout string) {
	c.Exit = exit
	c.Stdout.Reset()
	c.Stdout.WriteString(stdout)
}

// serveFaulty is a plugin of Seam's if the program is called as FAULT/TYPE.
func serveFaulty() (code int, is bool) {
	dir, pluginType := filepath.Split(os.Args[0])
	f, is := flaws()[filepath.Base(dir)]
	if !is || os.Getenv("SEAM_CONFORMANCE_CHECK") != "" {
		return 0, false
	}
	c := &faultyCall{Verb: os.Getenv("CNI_COMMAND")}
	c.Stdin, _ = io.ReadAll(os.Stdin)
	if f.before != nil {
		f.before(c)
	}
	if !c.Done {
		c.ask(pluginType, f)
	}
	if f.after != nil {
		f.after(c)
	}
	_, _ = os.Stderr.Write(c.Stderr.Bytes())
	_, _ = os.Stdout.Write(c.Stdout.Bytes())
	return c.Exit, true
}

func (c *faultyCall) ask(pluginType string, f flaw) {
	registry := all.Registry(plugin.NewHost(plugin.DefaultDirs))
	c.Exit = wire.Serve(context.Background(), registry[pluginType], wire.Call{
		Env: os.Environ(), Stdin: bytes.NewReader(c.Stdin), Stdout: &c.Stdout, Stderr: &c.Stderr, About: pluginType,
		Plugins: func(dirs []string) cni.Finder {
			path := wire.Path{Dirs: dirs, Builtins: registry, Stderr: &c.Stderr}
			if f.delegate == nil {
				return path
			}
			return faultyFinder{path, f.delegate}
		},
	})
}

type faultyFinder struct {
	wire.Path
	change func(cni.Plugin) cni.Plugin
}

func (f faultyFinder) Find(pluginType string) (cni.Plugin, error) {
	p, err := f.Path.Find(pluginType)
	if err != nil {
		return nil, err
	}
	return f.change(p), nil
}
