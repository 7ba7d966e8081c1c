package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// A program is one to be built.
type program struct {
	Name            string // of its file in the cache
	Module, Version string
	Package         string // below the module
	Tags            string
	CGO             string // 1 or 0

	// Vendored says that the module names what it needs in vendor.mod and vendor.sum: it is
	// no module that others can require, and is built in a copy of its own folder.
	Vendored bool
}

// The storage drivers that are left out need libraries of the system.
var programs = []program{
	{
		Name: "dockerd-28.5.2", Module: "github.com/docker/docker", Version: "v28.5.2+incompatible", Package: "cmd/dockerd",
		Tags: "exclude_graphdriver_btrfs", CGO: "1", Vendored: true,
	},
	{
		Name: "docker-28.5.2", Module: "github.com/docker/cli", Version: "v28.5.2+incompatible", Package: "cmd/docker",
		CGO: "0", Vendored: true,
	},
	{
		Name: "dockerd-29", Module: "github.com/moby/moby/v2", Version: "v2.0.0-beta.24", Package: "cmd/dockerd",
		Tags: "exclude_graphdriver_btrfs exclude_graphdriver_devicemapper", CGO: "1",
	},
	// Engines publish ports through a program of their own version.
	{
		Name: "docker-proxy-28.5.2", Module: "github.com/docker/docker", Version: "v28.5.2+incompatible", Package: "cmd/docker-proxy",
		CGO: "0", Vendored: true,
	},
	{
		Name: "docker-proxy-29", Module: "github.com/moby/moby/v2", Version: "v2.0.0-beta.24", Package: "cmd/docker-proxy",
		CGO: "0",
	},
}

// build makes the file, whole or not at all.
func (p program) build(ctx context.Context, file string) (err error) {
	work, err := os.MkdirTemp(filepath.Dir(file), "build-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	built := filepath.Join(work, filepath.Base(p.Package))
	if p.Vendored {
		err = p.buildCopy(ctx, filepath.Join(work, "source"), built)
	} else {
		_, err = p.command(ctx, work, "install", "-ldflags=-s -w", "-tags", p.Tags, p.Module+"/"+p.Package+"@"+p.Version)
	}
	if err != nil {
		return err
	}
	return os.Rename(built, file)
}

// buildCopy builds in a copy of the module's folder, where its list of what it needs
// is a go.mod.
func (p program) buildCopy(ctx context.Context, source, built string) error {
	folder, err := p.download(ctx, filepath.Dir(built))
	if err != nil {
		return err
	}
	if err := os.CopyFS(source, os.DirFS(folder)); err != nil {
		return err
	}
	for from, to := range map[string]string{"vendor.mod": "go.mod", "vendor.sum": "go.sum"} {
		if err := os.Rename(filepath.Join(source, from), filepath.Join(source, to)); err != nil {
			return err
		}
	}
	_, err = p.command(ctx, source, "build", "-mod=readonly", "-ldflags=-s -w", "-tags", p.Tags, "-o", built, "./"+p.Package)
	return err
}

// download returns the folder of the module's source.
func (p program) download(ctx context.Context, dir string) (string, error) {
	out, err := p.command(ctx, dir, "mod", "download", "-json", p.Module+"@"+p.Version)
	if err != nil {
		return "", err
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		return "", fmt.Errorf("go mod download %s: %w", p.Module, err)
	}
	return module.Dir, nil
}

// command runs go in a folder and returns what it printed.
func (p program) command(ctx context.Context, dir string, args ...string) ([]byte, error) {
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &errOut
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+p.CGO, "GOFLAGS=-buildvcs=false", "GOBIN="+dir, "GOWORK=off")
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s", args[0], err, &errOut)
	}
	return out.Bytes(), nil
}
