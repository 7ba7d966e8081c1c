package firewall

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"time"
)

// iptables is the back end of hosts whose policy lives in iptables, and the one that
// executes programs: iptables-restore, once for each family where the chains stand,
// and otherwise iptables-save before it. Whether they are the ones of nftables or the
// legacy ones is the host's choice.
type iptables struct{ books books }

// A family is one of iptables' two sets of programs.
type family struct{ name, restore, save string }

var (
	ip4 = family{"iptables", "iptables-restore", "iptables-save"}
	ip6 = family{"ip6tables", "ip6tables-restore", "ip6tables-save"}
)

func (f family) of(a netip.Addr) bool { return a.Is4() == (f == ip4) }

// families are those of the record's addresses.
func (r *record) families() []family {
	var list []family
	for _, f := range []family{ip4, ip6} {
		for _, a := range r.Addresses {
			if f.of(a) {
				list = append(list, f)
				break
			}
		}
	}
	return list
}

// addressRules are the record's rules for the family, none if they are another back
// end's.
func (r *record) addressRules(f family) []rule {
	var rules []rule
	for _, a := range r.Addresses {
		if f.of(a) && r.Backend == IPTables {
			rules = append(rules, addressRules(a)...)
		}
	}
	return rules
}

// wanted is what put does: each attachment has rules of its own, also if an address
// was another's before, so that they are as many as their owners.
func (i *iptables) wanted(rec *record, f family) change {
	c := change{add: rec.addressRules(f)}
	if len(c.add) > 0 {
		c.chains = append(c.chains, forwardChain, rec.AdminChain)
		c.steps = append(c.steps, frame(rec.AdminChain)...)
	}
	if rec.Walls == IPTables {
		c.chains = append(c.chains, stage1Chain, stage2Chain)
		c.steps = append(c.steps, wallFrame()...)
		c.steps = append(c.steps, wallRules(rec.Bridge, rec.Policy)...)
	}
	return c
}

func (i *iptables) put(ctx context.Context, rec *record) error {
	for _, f := range rec.families() {
		if err := i.putFamily(ctx, rec, f); err != nil {
			return err
		}
	}
	return nil
}

// putFamily looks at what is there before a wall's first attachment: a wall that the
// reference made stays when the last one leaves.
func (i *iptables) putFamily(ctx context.Context, rec *record, f family) error {
	first, w := false, rec.wall(f.name)
	if rec.Walls == IPTables {
		var err error
		if first, err = i.books.join(w, rec.Tag); err != nil {
			return err
		}
	}
	before, err := f.apply(ctx, i.wanted(rec, f), first)
	if first && err == nil && before.has(wallRules(rec.Bridge, rec.Policy)[0].rule) {
		return i.books.found(w)
	}
	return err
}

func (i *iptables) drop(ctx context.Context, rec *record) error {
	var errs []error
	for _, f := range rec.families() {
		errs = append(errs, i.dropFamily(ctx, rec, f))
	}
	return errors.Join(errs...)
}

func (i *iptables) dropFamily(ctx context.Context, rec *record, f family) error {
	c := change{remove: rec.addressRules(f)}
	if rec.Walls == IPTables {
		w := rec.wall(f.name)
		last, err := i.books.leave(w, rec.Tag)
		if err != nil {
			return err
		}
		if last {
			c.remove = append(c.remove, i.left(w)...)
		}
	}
	_, err := f.apply(ctx, c, false)
	return err
}

// left are the rules that nobody needs when the last one has left the wall.
func (i *iptables) left(w wall) []rule {
	rules := change{steps: wallRules(w.bridge, w.policy)}.shared()
	if i.books.stands(w.under(SameBridge)) || i.books.stands(w.under(Isolated)) {
		rules = rules[:len(rules)-1]
	}
	return rules
}

func (i *iptables) check(ctx context.Context, rec *record) error {
	var errs []error
	for _, f := range rec.families() {
		there, err := f.read(ctx)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		c := i.wanted(rec, f)
		for _, r := range append(c.shared(), c.add...) {
			if !there.has(r) {
				errs = append(errs, fmt.Errorf("%s: chain %s lacks %s", f.name, r.chain, r.spec))
			}
		}
	}
	return errors.Join(errs...)
}

func (i *iptables) available(context.Context) error {
	var errs []error
	for _, name := range []string{ip4.restore, ip4.save} {
		_, err := program(name)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// attempts bounds how often a change is planned anew because another program changed
// the same chains meanwhile.
const attempts = 5

// apply makes the change, at once if that can be, and returns what was there before it
// if it had to look, or was told to.
func (f family) apply(ctx context.Context, c change, look bool) (ruleset, error) {
	if c.empty() {
		return nil, nil
	}
	if !look && f.run(ctx, c.quick()) == nil {
		return nil, nil
	}
	var there ruleset
	var err error
	for range attempts {
		if there, err = f.read(ctx); err != nil {
			return nil, err
		}
		if err = f.run(ctx, c.after(there)); err == nil || ctx.Err() != nil {
			break
		}
	}
	return there, err
}

func (f family) run(ctx context.Context, input string) error {
	if input == "" {
		return nil
	}
	_, err := execute(ctx, input, f.restore, "--wait", "--noflush")
	return err
}

func (f family) read(ctx context.Context) (ruleset, error) {
	out, err := execute(ctx, "", f.save, "-t", "filter")
	return parseRuleset(out), err
}

// programTime bounds one execution, most of which can be a wait for iptables' lock.
const programTime = 30 * time.Second

func execute(ctx context.Context, input, name string, args ...string) (string, error) {
	path, err := program(name)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, programTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin = strings.NewReader(input)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(said.String()))
	}
	return out.String(), nil
}

// program finds one of iptables' programs, also for a runtime without sbin in its path.
func program(name string) (string, error) {
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin/", "/sbin/"} {
		if err == nil {
			break
		}
		path, err = exec.LookPath(dir + name)
	}
	if err != nil {
		return "", fmt.Errorf("program %s is not installed, which the back end iptables needs: %w", name, exec.ErrNotFound)
	}
	return path, nil
}
