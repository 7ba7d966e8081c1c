package plugins

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/seamnet/seam/nft"
)

// putFirewall adds the rules of nftables and iptables, as their own programs tell them.
// Without nft, there are Seam's own tables only.
func (h *host) putFirewall(f footprint) error {
	text, ok, err := h.said("nft", "--stateless", "list", "ruleset")
	if err != nil {
		return err
	}
	programs := []string{"iptables-legacy-save", "ip6tables-legacy-save"} // what nft does not show
	if !ok {
		programs = []string{"iptables-save", "ip6tables-save"}
		if text, err = seamTables(); err != nil {
			return err
		}
	}
	f.putBlocks("nft", text)
	for _, program := range programs {
		if text, _, err = h.said(program); err != nil {
			continue // the kernel has no such tables
		}
		f.putSaved(program, text)
	}
	return nil
}

// said returns what a program prints; ok is false if there is none.
func (h *host) said(name string, args ...string) (text string, ok bool, err error) {
	file, err := exec.LookPath(name)
	if errors.Is(err, exec.ErrNotFound) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	out, err := exec.CommandContext(h.Context(), file, args...).Output()
	if err != nil {
		return "", true, fmt.Errorf("%s: %w", name, err)
	}
	return string(out), true, nil
}

// seamTables returns Seam's tables, in nft's words.
func seamTables() (string, error) {
	t, err := nft.Open("/run/seam/nft")
	if err != nil {
		return "", err
	}
	defer t.Close()
	return t.Text()
}

// putBlocks adds what a text in blocks with braces says, each line, and each element of a
// set, with the names of the blocks that it stands in.
func (f footprint) putBlocks(kind, text string) {
	var within []string
	elements := false // the line is one of a list of them, which may take many
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		place := kind + " " + strings.Join(within, ", ")
		if rest, ok := strings.CutPrefix(line, "elements = {"); ok || elements {
			if ok {
				line = rest
			}
			line, elements = strings.CutSuffix(line, "}")
			elements = !elements
			for _, e := range commas(line) {
				f.put(place+": element "+e, "")
			}
			continue
		}
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case line == "}":
			within = within[:max(0, len(within)-1)]
		case strings.HasSuffix(line, " {"):
			within = append(within, strings.TrimSuffix(line, " {"))
			f.put(kind+" "+strings.Join(within, ", "), "")
		default:
			f.put(place+": "+line, "")
		}
	}
}

// commas returns what stands between the commas of a text, but for those in quotes.
func commas(text string) []string {
	quoted := false
	var parts []string
	for _, part := range strings.FieldsFunc(text, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return r == ',' && !quoted
	}) {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

// putSaved adds what iptables-save prints, without counters.
func (f footprint) putSaved(program, text string) {
	kind, table := strings.TrimSuffix(strings.Replace(program, "-legacy", "", 1), "-save"), ""
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), " [")
		switch {
		case strings.HasPrefix(line, "*"):
			table = line[1:]
		case strings.HasPrefix(line, ":"), strings.HasPrefix(line, "-"):
			f.put(kind+" "+table+" "+line, "")
		}
	}
}
