package plugins

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

func checkPrograms(h *host) {
	strace, err := exec.LookPath("strace")
	if errors.Is(err, exec.ErrNotFound) {
		h.Skipf("needs strace")
	}
	h.Must(err)
	for range 2 { // what is made once is there
		h.cycle(nil, "", "ADD", "DEL")
	}
	a := h.equipped(h.pod())
	for _, verb := range []string{"ADD", "DEL"} {
		var failed error
		names, err := h.watched(strace, func() { _, failed = a.timed(verb) })
		if err != nil {
			h.Skipf("%v", err)
		}
		if failed != nil {
			h.Fatalf("%v", failed)
		}
		h.Logf("%s executes %s", verb, counted(names))
	}
}

// watched does something in this process, and returns the names of the programs that were
// executed meanwhile. The tracer, which slows all down, does not outlive it.
func (h *host) watched(strace string, do func()) ([]string, error) {
	dir, err := os.MkdirTemp("", "conformance")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	log := filepath.Join(dir, "execve")
	cmd := exec.CommandContext(h.Context(), strace, "-f", "-e", "trace=execve", "-e", "signal=none", "-o", log, "-p", strconv.Itoa(os.Getpid()))
	said, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(said)
	if !lines.Scan() || !strings.Contains(lines.Text(), "attached") {
		return nil, fmt.Errorf("strace: %s", errors.Join(errors.New(lines.Text()), cmd.Wait()))
	}
	do()
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		return nil, err
	}
	for lines.Scan() { // until it has let go of all
	}
	_ = cmd.Wait() // it ends as what ended it says
	text, err := os.ReadFile(log)
	return ReadExecve(string(text)), err
}

// ReadExecve returns the base names of the programs whose execve succeeded, in order, out of
// a log of "strace -f -e trace=execve".
func ReadExecve(log string) []string {
	// Compiled here, as this program is executed for every attachment.
	execveBegun := regexp.MustCompile(`^(\d+) +execve\("([^"]*)".*?(= 0|<unfinished \.\.\.>)$`)
	execveEnded := regexp.MustCompile(`^(\d+) +<\.\.\. execve resumed>.*= 0$`)
	var names []string
	begun := make(map[string]string)
	for line := range strings.Lines(log) {
		line = strings.TrimSpace(line)
		if m := execveBegun.FindStringSubmatch(line); m != nil {
			if begun[m[1]] = filepath.Base(m[2]); m[3] == "= 0" {
				names = append(names, begun[m[1]])
			}
		} else if m := execveEnded.FindStringSubmatch(line); m != nil {
			names = append(names, begun[m[1]])
		}
	}
	return names
}

// counted tells how many of each name there are.
func counted(names []string) string {
	if len(names) == 0 {
		return "no program"
	}
	var words []string
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		n := 0
		for _, other := range names {
			if other == name {
				n++
			}
		}
		words = append(words, fmt.Sprintf("%s %d×", name, n))
	}
	return fmt.Sprintf("%d programs: %s", len(names), strings.Join(words, ", "))
}
