package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/seamnet/seam/plugin"
	"golang.org/x/sys/unix"
)

// compare attaches the pod as Seam does and as the floor does, on this host, and
// returns the state that both made, as ip and nft tell it. It is an error if
// they differ, or if either leaves anything behind.
func (h *inside) compare(ctx context.Context, p *pod) (string, error) {
	in, err := newLinkedIn(h.Host, newParts())
	if err != nil {
		return "", err
	}
	in.likeFloor = true
	seams, err := stateOf(ctx, in, p)
	if err != nil {
		return "", err
	}
	floors, err := stateOf(ctx, h.contender, p)
	if err != nil {
		return "", err
	}
	if d := difference(seams, floors); d != "" {
		return "", fmt.Errorf("the floor's state is not Seam's (- Seam, + floor):\n%s", d)
	}
	return seams, nil
}

// stateOf returns the state with the pod attached by c, who must leave nothing when
// it detaches it.
func stateOf(ctx context.Context, c contender, p *pod) (attached string, err error) {
	before, err := state(ctx, p)
	if err != nil {
		return "", err
	}
	if err := c.add(ctx, p); err != nil {
		return "", err
	}
	if err := awaitUp(p); err != nil {
		return "", err
	}
	if attached, err = state(ctx, p); err != nil {
		return "", err
	}
	if err := c.del(ctx, p); err != nil {
		return "", err
	}
	after, err := state(ctx, p)
	if err != nil {
		return "", err
	}
	if d := difference(before, after); d != "" {
		return "", fmt.Errorf("DEL leaves something (- before, + after):\n%s", d)
	}
	return attached, nil
}

// awaitUp waits until the kernel has noticed of both ends of the veth that they can
// carry frames, which it does a moment after they are up.
func awaitUp(p *pod) error {
	host, err := dial(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer host.close()
	if err := awaitCarrier(host, plugin.HostName(p.tag())); err != nil {
		return err
	}
	return p.ns.Do(func() error {
		inside, err := dial(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer inside.close()
		return awaitCarrier(inside, podIfName)
	})
}

func awaitCarrier(s *socket, name string) error {
	const operationallyUp = 6 // IF_OPER_UP
	for range 1000 {
		m := linkMessage(unix.RTM_GETLINK, 0, 0, false)
		m.text(unix.IFLA_IFNAME, name)
		body, err := s.ask(m)
		if err != nil {
			return fmt.Errorf("link %s: %w", name, err)
		}
		if is := attributes(body[unix.SizeofIfInfomsg:])[unix.IFLA_OPERSTATE]; len(is) == 1 && is[0] == operationallyUp {
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	return fmt.Errorf("link %s: does not become operational", name)
}

// state is the host and the pod in words, without what differs each time (indexes, MAC
// addresses, timers) and without what IPv6 makes of every link by itself, in its
// own time.
func state(ctx context.Context, p *pod) (string, error) {
	var text strings.Builder
	for _, command := range []string{
		"ip -d link", "ip addr", "ip route show table all", "ip -6 route show table all", "nft list ruleset",
		"ip -n POD -d link", "ip -n POD addr", "ip -n POD route show table all", "ip -n POD -6 route show table all",
	} {
		args := strings.Fields(strings.ReplaceAll(command, "POD", p.id()))
		out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("%s: %w: %s", command, err, out)
		}
		fmt.Fprintf(&text, "$ %s\n%s", command, out)
	}
	settings(&text, "/proc/sys/net/ipv4/ip_forward")
	settings(&text, linkSettings(bridgeName)...)
	settings(&text, linkSettings(plugin.HostName(p.tag()))...)
	err := p.ns.Do(func() error {
		settings(&text, linkSettings(podIfName)...)
		return nil
	})
	return volatile.ReplaceAllString(text.String(), ""), err
}

var volatile = regexp.MustCompile(strings.Join([]string{
	`(?m)^ *inet6 fe80::.*\n.*valid_lft.*\n`, `^((local|anycast|multicast) )?(fe80|ff00)::.*\n`,
	`^\d+: `, `@if\d+`, `link/ether [0-9a-f:]{17}`, `\b(bridge|designated|root)_?(id)? [0-9a-f]+\.[0-9a-f:]+`,
	`[a-z_]+_timer +[\d.]+`,
}, "|"))

func linkSettings(name string) []string {
	return []string{"/proc/sys/net/ipv4/conf/" + name, "/proc/sys/net/ipv6/conf/" + name}
}

// settings writes what the files say that are below the paths. What is not there, or
// not to be read, has nothing to say.
func settings(text *strings.Builder, paths ...string) {
	for _, path := range paths {
		_ = filepath.WalkDir(path, func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return nil
			}
			if value, err := os.ReadFile(file); err == nil {
				fmt.Fprintf(text, "%s = %s", strings.TrimPrefix(file, "/proc/sys/"), value)
			}
			return nil
		})
	}
}

// difference returns the lines that only one of the texts has, "" if there are none.
func difference(a, b string) string {
	count := make(map[string]int)
	for line := range strings.Lines(b) {
		count[line]++
	}
	var d strings.Builder
	for line := range strings.Lines(a) {
		if count[line]--; count[line] < 0 {
			d.WriteString("-" + line)
		}
	}
	for line := range strings.Lines(b) {
		if count[line] > 0 {
			count[line]--
			d.WriteString("+" + line)
		}
	}
	return d.String()
}
