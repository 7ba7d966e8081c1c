package firewall

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// The chains are the reference plugin's, to the letter.
const (
	forwardChain = "CNI-FORWARD"
	stage1Chain  = "CNI-ISOLATION-STAGE-1"
	stage2Chain  = "CNI-ISOLATION-STAGE-2"
)

// A rule is one of iptables' table filter, in the words in which iptables-save prints it.
type rule struct{ chain, spec string }

// A step is a rule that all attachments share, and on which end of its chain it is
// put if it is missing.
type step struct {
	rule
	first bool
}

func commented(comment, spec string) string {
	return fmt.Sprintf("-m comment --comment %q %s", "CNI firewall plugin "+comment, spec)
}

// addressRules let what the pod sends pass, and the answers to it.
func addressRules(a netip.Addr) []rule {
	own := netip.PrefixFrom(a, a.BitLen()).String()
	return []rule{
		{forwardChain, "-d " + own + " -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"},
		{forwardChain, "-s " + own + " -j ACCEPT"},
	}
}

// frame leads FORWARD to the addresses' rules, which begin with the administrator's.
func frame(adminChain string) []step {
	return []step{
		{rule{"FORWARD", commented("rules", "-j "+forwardChain)}, true},
		{rule{forwardChain, commented("admin overrides", "-j "+adminChain)}, true},
	}
}

const anyPolicy = "rules (ingressPolicy: same-bridge|isolated)"

// wallFrame leads FORWARD to the walls, before the addresses' rules.
func wallFrame() []step {
	return []step{
		{rule{"FORWARD", commented(anyPolicy, "-j "+stage1Chain)}, true},
		{rule{stage1Chain, commented(anyPolicy, "-j RETURN")}, false},
		{rule{stage2Chain, commented(anyPolicy, "-j RETURN")}, false},
	}
}

// wallRules drop what comes from a bridge with a wall and goes to another with one:
// the first stage knows the one, the second the other. The last rule is the same under
// both policies.
func wallRules(bridge string, policy Policy) []step {
	words := fmt.Sprintf("rules (ingressPolicy: %s)", policy)
	in := "-i " + bridge + " "
	steps := []step{{rule{stage1Chain, in + "! -o " + bridge + " " + commented(words, "-j "+stage2Chain)}, true}}
	if policy == Isolated {
		steps = append(steps, step{rule{stage1Chain, in + "-o " + bridge + " " + commented(words, "-j DROP")}, true})
	}
	return append(steps, step{rule{stage2Chain, "-o " + bridge + " " + commented(anyPolicy, "-j DROP")}, true})
}

// A ruleset is a table filter as iptables-save prints it: rules by chain.
type ruleset map[string][]string

func parseRuleset(saved string) ruleset {
	rs := make(ruleset)
	in := false
	for line := range strings.Lines(saved) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "*"):
			in = line == "*filter"
		case in && strings.HasPrefix(line, ":"):
			chain, _, _ := strings.Cut(line[1:], " ")
			rs[chain] = []string{}
		case in && strings.HasPrefix(line, "-A "):
			chain, spec, _ := strings.Cut(line[len("-A "):], " ")
			rs[chain] = append(rs[chain], spec)
		}
	}
	return rs
}

func (rs ruleset) has(r rule) bool { return slices.Contains(rs[r.chain], r.spec) }

// A change is what an iptables-restore is to do to the table filter.
type change struct {
	chains []string // to be there
	steps  []step   // to be there once
	add    []rule   // one more of each
	remove []rule   // one less of each
}

// shared are the rules that steps stand for.
func (c change) shared() []rule {
	var rules []rule
	for _, s := range c.steps {
		rules = append(rules, s.rule)
	}
	return rules
}

func (c change) empty() bool { return len(c.steps)+len(c.add)+len(c.remove) == 0 }

// quick is the input that does it where everything shared is in place, and all that is
// to be removed; elsewhere iptables-restore refuses it whole.
func (c change) quick() string {
	var lines []string
	for _, s := range c.steps {
		lines = append(lines, "-C "+s.chain+" "+s.spec)
	}
	return restoreInput(append(lines, c.moves()...))
}

func (c change) moves() []string {
	var lines []string
	for _, r := range c.remove {
		lines = append(lines, "-D "+r.chain+" "+r.spec)
	}
	for _, r := range c.add {
		lines = append(lines, "-A "+r.chain+" "+r.spec)
	}
	return lines
}

// after is the input that does it to what is there, "" if there is nothing to do.
func (c change) after(there ruleset) string {
	var lines []string
	for _, chain := range c.chains {
		if _, ok := there[chain]; !ok {
			lines = append(lines, ":"+chain+" - [0:0]")
		}
	}
	for _, s := range c.steps {
		switch {
		case there.has(s.rule):
		case s.first:
			lines = append(lines, "-I "+s.chain+" 1 "+s.spec)
		default:
			lines = append(lines, "-A "+s.chain+" "+s.spec)
		}
	}
	left := c
	left.remove = slices.DeleteFunc(slices.Clone(c.remove), func(r rule) bool { return !there.has(r) })
	return restoreInput(append(lines, left.moves()...))
}

func restoreInput(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return "*filter\n" + strings.Join(lines, "\n") + "\nCOMMIT\n"
}
