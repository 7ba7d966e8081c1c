package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/nft"
)

// foreignRules are rules of others, which the program nft puts into words, if there is one.
type foreignRules struct {
	ctx    context.Context
	chains map[string]map[uint64]string // by place and handle
}

// text returns the rule that the event is about, "" if it is not known.
func (f *foreignRules) text(e nft.Event, pod *netns.Namespace) string {
	place := fmt.Sprintf("%p %s %s %s", pod, e.Family, e.Table, e.Chain)
	if f.chains == nil {
		f.chains = make(map[string]map[uint64]string)
	}
	rules, known := f.chains[place]
	if !known {
		rules = f.list(e, pod)
		f.chains[place] = rules
	}
	return rules[e.Handle]
}

// list asks nft, which takes its arguments for one line of its language. A container's own
// tables may have any name, also one that is a command.
func (f *foreignRules) list(e nft.Event, pod *netns.Namespace) map[uint64]string {
	if !isWord(e.Table) || !isWord(e.Chain) {
		return nil
	}
	const patience = 5 * time.Second
	ctx, stop := context.WithTimeout(f.ctx, patience)
	defer stop()
	var out []byte
	run := func() (err error) {
		out, err = exec.CommandContext(ctx, "nft", "-a", "-s", "list", "chain", e.Family, e.Table, e.Chain).Output()
		return err
	}
	var err error
	if pod == nil {
		err = run()
	} else {
		err = pod.Do(run)
	}
	if err != nil {
		return nil // the rule's place and handle are told without
	}
	return parseHandles(string(out))
}

// isWord reports whether nft takes a name as one word.
func isWord(name string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_."
	return name != "" && strings.Contains(letters, name[:1]) && strings.Trim(name, letters+"0123456789-/") == ""
}

// parseHandles reads the rules of what "nft -a list chain" prints.
func parseHandles(text string) map[uint64]string {
	rules := make(map[uint64]string)
	for line := range strings.Lines(text) {
		rule, number, ok := strings.Cut(strings.TrimSpace(line), " # handle ")
		var handle uint64
		if _, err := fmt.Sscanf(number, "%d", &handle); ok && err == nil && !strings.HasSuffix(rule, "{") {
			rules[handle] = rule
		}
	}
	return rules
}
