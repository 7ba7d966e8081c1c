package firewall_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/plugintest"
)

// rules is what iptables, then ip6tables show.
func rules(t testing.TB) string {
	t.Helper()
	return plugintest.Run(t, nil, "iptables", "-S") + plugintest.Run(t, nil, "ip6tables", "-S")
}

func flush(t testing.TB) {
	t.Helper()
	for _, program := range []string{"iptables", "ip6tables"} {
		plugintest.Run(t, nil, program, "-F")
		plugintest.Run(t, nil, program, "-X")
	}
}

// same is what both families have for two bridges, the one isolated; X is of the
// address, L its length.
const same = `-P INPUT ACCEPT
-P FORWARD ACCEPT
-P OUTPUT ACCEPT
-N CNI-ADMIN
-N CNI-FORWARD
-N CNI-ISOLATION-STAGE-1
-N CNI-ISOLATION-STAGE-2
-A FORWARD -m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)" -j CNI-ISOLATION-STAGE-1
-A FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD
-A CNI-FORWARD -m comment --comment "CNI firewall plugin admin overrides" -j CNI-ADMIN
-A CNI-FORWARD -d X2/L -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A CNI-FORWARD -s X2/L -j ACCEPT
-A CNI-FORWARD -d X3/L -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A CNI-FORWARD -s X3/L -j ACCEPT
-A CNI-ISOLATION-STAGE-1 -i brb -o brb -m comment --comment "CNI firewall plugin rules (ingressPolicy: isolated)" -j DROP
-A CNI-ISOLATION-STAGE-1 -i brb ! -o brb -m comment --comment "CNI firewall plugin rules (ingressPolicy: isolated)" -j CNI-ISOLATION-STAGE-2
-A CNI-ISOLATION-STAGE-1 -i bra ! -o bra -m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge)" -j CNI-ISOLATION-STAGE-2
-A CNI-ISOLATION-STAGE-1 -m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)" -j RETURN
-A CNI-ISOLATION-STAGE-2 -o brb -m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)" -j DROP
-A CNI-ISOLATION-STAGE-2 -o bra -m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)" -j DROP
-A CNI-ISOLATION-STAGE-2 -m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)" -j RETURN
`

func sameOfBoth() string {
	return strings.NewReplacer("X", "10.1.0.", "/L", "/32").Replace(same) +
		strings.NewReplacer("X", "fd00:1::", "/L", "/128").Replace(same)
}

// sorted puts the chains' names, which iptables-legacy lists as they were made, in order.
func sorted(rules string) string {
	return strings.ReplaceAll(strings.ReplaceAll(rules,
		"-N CNI-FORWARD\n-N CNI-ADMIN\n", "-N CNI-ADMIN\n-N CNI-FORWARD\n"), "\n\n", "\n")
}

// two are attachments of two bridges; a's policy is same-bridge, b's isolated.
func two(t testing.TB) (a, b *cni.Request) {
	t.Helper()
	a = request(t, iptablesKeys+`,"ingressPolicy":"same-bridge"`, "a", result("bra", "va", "/x", "10.1.0.2/24", "fd00:1::2/64"))
	b = request(t, iptablesKeys+`,"ingressPolicy":"isolated"`, "b", result("brb", "vb", "/x", "10.1.0.3/24", "fd00:1::3/64"))
	return a, b
}

func textOf(t *testing.T, p implementation) {
	t.Helper()
	a, b := two(t)
	for _, r := range []*cni.Request{a, b} {
		_, err := p.Add(ctx, r)
		must(t, err)
	}
	if diff := cmp.Diff(sameOfBoth(), sorted(rules(t))); diff != "" {
		t.Errorf("iptables -S (-want +got):\n%s", diff)
	}
	for _, r := range []*cni.Request{a, b} {
		must(t, p.Check(ctx, r))
	}
}

func TestIPTablesText(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) { textOf(t, seam(t)) })
}

func TestIPTablesTextLegacy(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		useLegacy(t)
		textOf(t, seam(t))
	})
}

func TestIPTablesTextReference(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		ref := theReference(t)
		if ref == nil {
			t.Skip("needs the reference plugin")
		}
		textOf(t, ref)
	})
}

// What one made, the other checks and removes.
func TestIPTablesMigration(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		ref := theReference(t)
		if ref == nil {
			t.Skip("needs the reference plugin")
		}
		addresses := func() int { return strings.Count(rules(t), "-A CNI-FORWARD -") - 2 }
		for _, way := range []struct {
			name         string
			maker, other implementation
		}{{"to Seam", ref, seam(t)}, {"and back", seam(t), ref}} {
			a, b := two(t)
			for _, r := range []*cni.Request{a, b} {
				if way.maker == ref || r == b {
					r.Config.JSON = []byte(strings.Replace(string(r.Config.JSON), iptablesKeys, "", 1))
				}
				_, err := way.maker.Add(ctx, r)
				must(t, err)
				must(t, way.other.Check(ctx, r))
			}
			must(t, way.other.Del(ctx, a))
			must(t, way.maker.Check(ctx, b))
			if got := addresses(); got != 4 {
				t.Errorf("%s: %d rules are left, want b's 4", way.name, got)
			}
			must(t, way.other.Del(ctx, b))
			must(t, way.maker.Del(ctx, b))
			must(t, way.other.Del(ctx, b))
			if got := addresses(); got != 0 {
				t.Errorf("%s: %d rules are left", way.name, got)
			}
			flush(t)
		}
	})
}

// The reference's containers on a bridge keep their wall when Seam's have gone.
func TestWallOfReferenceStays(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		ref := theReference(t)
		if ref == nil {
			t.Skip("needs the reference plugin")
		}
		a, _ := two(t)
		_, err := ref.Add(ctx, a)
		must(t, err)
		before := rules(t)
		later := request(t, `,"ingressPolicy":"same-bridge"`, "later", result("bra", "vl", "/x", "10.1.0.9/24", "fd00:1::9/64"))
		p := seam(t)
		_, err = p.Add(ctx, later)
		must(t, err)
		must(t, p.Del(ctx, later))
		if diff := cmp.Diff(before, rules(t)); diff != "" {
			t.Errorf("after ADD and DEL (-before +after):\n%s", diff)
		}
	})
}

// Each rule that is missing is found.
func TestIPTablesCheck(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		p := seam(t)
		a, b := two(t)
		for _, r := range []*cni.Request{a, b} {
			_, err := p.Add(ctx, r)
			must(t, err)
		}
		for line := range strings.Lines(plugintest.Run(t, nil, "iptables", "-S")) {
			if !strings.HasPrefix(line, "-A ") {
				continue
			}
			all := plugintest.Run(t, nil, "iptables-save", "-t", "filter")
			spec := strings.TrimSpace(line[len("-A "):])
			plugintest.Run(t, nil, "sh", "-c", "iptables -D "+spec)
			err := errors.Join(p.Check(ctx, a), p.Check(ctx, b))
			_, words, _ := strings.Cut(spec, " ")
			if err == nil || !strings.Contains(err.Error(), "lacks "+words) {
				t.Errorf("CHECK without %s: %v", spec, err)
			}
			must(t, os.WriteFile("/run/saved", []byte(all), 0o600))
			plugintest.Run(t, nil, "iptables-restore", "/run/saved")
		}
		must(t, errors.Join(p.Check(ctx, a), p.Check(ctx, b)))
	})
}

func TestIPTablesLifecycle(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		p := seam(t)
		plugintest.Run(t, nil, "iptables", "-N", "CNI-ADMIN")
		plugintest.Run(t, nil, "iptables", "-A", "CNI-ADMIN", "-s", "192.0.2.7", "-j", "DROP")
		a, b := two(t)
		add := func(r *cni.Request) {
			t.Helper()
			_, err := p.Add(ctx, r)
			must(t, err)
		}
		add(a)
		want := rules(t)
		if !strings.Contains(want, "-A CNI-ADMIN -s 192.0.2.7/32 -j DROP") {
			t.Error("the administrator's chain was flushed")
		}
		compare := func(when string) {
			t.Helper()
			if diff := cmp.Diff(want, rules(t)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", when, diff)
			}
		}
		// Neither namespace nor prevResult nor a valid configuration is needed; the wall
		// of brb goes with its last attachment.
		second := request(t, iptablesKeys+`,"ingressPolicy":"isolated"`, "b2", result("brb", "v2", "", "10.1.0.4/24"))
		for range 2 {
			add(b)
			add(second)
			bare := request(t, `,"backend":7,"ingressPolicy":"x"`, "b", nil)
			must(t, p.Del(ctx, bare))
			must(t, p.Check(ctx, second))
			must(t, p.Del(ctx, bare))
			must(t, p.Del(ctx, request(t, "", "b2", nil)))
			compare("after DEL")
		}
		flushed := func(program string) {
			plugintest.Run(t, nil, program, "-F", "CNI-FORWARD")
		}
		add(b)
		flushed("iptables")
		must(t, p.Del(ctx, b)) // what is gone is fine
		add(b)
		gc := request(t, "", "", nil)
		gc.Attachment = cni.Attachment{Network: "net"}
		must(t, p.GC(ctx, gc))
		must(t, p.Check(ctx, b))
		gc.Valid = []cni.Attachment{a.Attachment}
		must(t, p.GC(ctx, gc))
		must(t, p.Del(ctx, a))
		add(a)
		compare("after GC")

		// A jump that is missing comes back on top of what stands.
		plugintest.Run(t, nil, "iptables", "-D", "CNI-FORWARD", "1")
		add(b)
		must(t, p.Check(ctx, a))
		must(t, p.Check(ctx, b))
		must(t, p.Del(ctx, b))
		compare("after repair by ADD")
		must(t, p.Status(ctx, a))
	})
}

// counting puts iptables' programs into the path that count their executions.
func counting(t *testing.T) (executed func() []string) {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	for _, name := range []string{"iptables-restore", "ip6tables-restore", "iptables-save", "ip6tables-save", "iptables", "ip6tables", "nft"} {
		script := fmt.Sprintf("#!/bin/sh\necho %s >> %s\nexec /usr/sbin/%s \"$@\"\n", name, log, name)
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755))
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() []string {
		b, err := os.ReadFile(log)
		if err != nil {
			return nil
		}
		must(t, os.Remove(log))
		return strings.Fields(string(b))
	}
}

// Where the chains stand, one execution for each family does.
func TestExecutions(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		p := seam(t)
		a, _ := two(t)
		next := request(t, iptablesKeys+`,"ingressPolicy":"same-bridge"`, "c", result("bra", "vc", "", "10.1.0.7/24", "fd00:1::7/64"))
		_, err := p.Add(ctx, a)
		must(t, err)
		executed := counting(t)
		restores := []string{"iptables-restore", "ip6tables-restore"}
		_, err = p.Add(ctx, next)
		must(t, err)
		if diff := cmp.Diff(restores, executed()); diff != "" {
			t.Errorf("ADD (-want +got):\n%s", diff)
		}
		must(t, p.Del(ctx, next))
		if diff := cmp.Diff(restores, executed()); diff != "" {
			t.Errorf("DEL (-want +got):\n%s", diff)
		}
		byNetlink := request(t, nftablesKeys+`,"ingressPolicy":"isolated"`, "n", result("brz", "vz", "", "10.1.0.8/24"))
		_, err = p.Add(ctx, byNetlink)
		must(t, err)
		must(t, p.Check(ctx, byNetlink))
		must(t, p.Del(ctx, byNetlink))
		if got := executed(); len(got) > 0 {
			t.Errorf("the back end nftables executes %q", got)
		}
	})
}

// Chains and shared rules are made once also by many at a time.
func TestIPTablesConcurrent(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		const many = 8
		done := make(chan error, many)
		requests := make([]*cni.Request, many)
		for i := range many {
			requests[i] = request(t, iptablesKeys+`,"ingressPolicy":"isolated"`, fmt.Sprint("c", i), result("bra", "v", "", fmt.Sprintf("10.1.0.%d/24", i+2)))
		}
		h := plugintest.Host(t)
		each := func(f func(i int, p cni.Plugin) error) {
			t.Helper()
			for i := range many {
				go func() { done <- f(i, newOn(h)) }()
			}
			for range many {
				must(t, <-done)
			}
		}
		each(func(i int, p cni.Plugin) error { _, err := p.Add(ctx, requests[i]); return err })
		got := plugintest.Run(t, nil, "iptables", "-S")
		if n := strings.Count(got, "-A CNI-FORWARD"); n != 1+2*many || strings.Count(got, "-A FORWARD") != 2 || strings.Count(got, "-A CNI-ISOLATION") != 5 {
			t.Errorf("rules:\n%s", got)
		}
		each(func(i int, p cni.Plugin) error { return p.Del(ctx, requests[i]) })
		got = plugintest.Run(t, nil, "iptables", "-S")
		if strings.Contains(got, "bra") || strings.Contains(got, "10.1.0") {
			t.Errorf("left behind:\n%s", got)
		}
	})
}

// Two attachments with one address have rules each, so that the end of one does not
// close the other.
func TestIPTablesSharedAddress(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		p := seam(t)
		one := request(t, iptablesKeys, "one", result("bra", "v", "", "10.1.0.2/24"))
		other := request(t, iptablesKeys, "other", result("bra", "v", "", "10.1.0.2/24"))
		for _, r := range []*cni.Request{one, other, other} {
			_, err := p.Add(ctx, r)
			must(t, err)
		}
		must(t, p.Del(ctx, one))
		must(t, p.Check(ctx, other))
		must(t, p.Del(ctx, other))
		if got := rules(t); strings.Contains(got, "10.1.0.2") {
			t.Errorf("left behind:\n%s", got)
		}
	})
}
