// Command engines builds the versions of Docker's engine that hack/runtimes tests against
// beside the distribution's, and a client for them, where there are none yet:
//
//	go run ./hack/engines
//
// They are kept in the folder seam/engines of the user's cache, because building takes
// minutes for each, a quarter of an hour the first time; to build one again, remove its
// file there. The source comes from the module proxy. A C compiler is needed.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "engines:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	dir := filepath.Join(cache, "seam", "engines")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, p := range programs {
		file := filepath.Join(dir, p.Name)
		if _, err := os.Stat(file); err == nil {
			continue
		}
		fmt.Printf("building %s from %s %s, which takes minutes\n", p.Name, p.Module, p.Version)
		began := time.Now()
		if err := p.build(ctx, file); err != nil {
			return fmt.Errorf("build %s: %w", p.Name, err)
		}
		fmt.Printf("built %s in %v\n", file, time.Since(began).Round(time.Second))
	}
	return nil
}
