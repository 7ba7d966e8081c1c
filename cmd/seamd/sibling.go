package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A sibling is the program seam of this program's version, which is installed beside it,
// and under plugins' names where runtimes look for them. What is that very program need not
// be executed: seamd has the same plugins built in.
//
// The file is kept open: what is installed later under its name is another program, whose
// plugins are executed until seamd starts again.
type sibling struct{ file *os.File }

// openSibling looks beside the program at self. Without a sibling there is none, and
// plugins that are found as files are executed, Seam's too.
func openSibling(ctx context.Context, self string, log *slog.Logger) *sibling {
	file, err := besides(ctx, self)
	if err != nil {
		log.Info("plugins that are files are executed: the program seam of the same version is not beside this one", "err", err)
		return &sibling{}
	}
	return &sibling{file}
}

func besides(ctx context.Context, self string) (*os.File, error) {
	own, err := filepath.EvalSymlinks(self)
	if err != nil {
		return nil, err
	}
	file, err := os.Open(filepath.Join(filepath.Dir(own), "seam"))
	if err != nil {
		return nil, err
	}
	if err := sameVersion(ctx, file); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// answerTime is how long seam may take to say its version: engines wait for this program.
const answerTime = 500 * time.Millisecond

func sameVersion(ctx context.Context, program *os.File) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, pathOf(program), "version")
	cmd.Args[0], cmd.WaitDelay = "seam", answerTime
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s version: %w", program.Name(), err)
	}
	first, _, _ := strings.Cut(string(out), "\n")
	if got := strings.Join(strings.Fields(first), " "); got != "seam "+version {
		return fmt.Errorf("%s is %q, and this is seamd %s", program.Name(), got, version)
	}
	return nil
}

// pathOf is a path of the open file, whatever becomes of its name.
func pathOf(f *os.File) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd()) }

// path is a path of the program; empty: there is none.
func (s *sibling) path() string {
	if s.file == nil {
		return ""
	}
	return pathOf(s.file)
}

func (s *sibling) close() {
	if s.file != nil {
		s.file.Close()
	}
}
