package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/trail"
)

// An explainedWay is a way as programs read it.
type explainedWay struct {
	cni.Attachment
	*trail.Way
}

type packetFlags struct {
	udp, lookup bool
	from        string
	wait        time.Duration
}

func (c *cli) packetCommand() *cobra.Command {
	var f packetFlags
	cmd := &cobra.Command{
		Use:   "trace CONTAINER [INTERFACE] TO[:PORT]",
		Short: "Explain a packet's way, and what drops it",
		Long: `Explain the way of a packet step by step: links, bridge ports, routes, rules and
translations, with the rule that drops it if one does.

A packet is sent and watched: a TCP connection if there is a port, which is closed at
once, a datagram with --udp, else an echo request. While that lasts, at most --wait, the
kernel traces it by a table of nftables, seam-trace-PID, that ends with the program.
With --no-probe nothing is sent and nothing changed, and rules of others are not seen.
The exit code is 1 if the packet is dropped, refused or, but for UDP, not answered.

TO is an address, or another container; ":PORT" alone is the container's own address. By
default the container sends. With --from host the host does; with --from ADDRESS, the
packet is put in where it would arrive from there, and answers go to that address.

Every nftables rule is seen, iptables-nft's, too; rules of iptables-legacy, tc and eBPF are
not. The flag --trace, which every command has, is about something else: plugin calls.`,
		Example: `  seam trace web 192.0.2.7:443                      out into the world
  seam trace web db:5432                            to another container
  seam trace web 10.96.0.10:53 --udp                to a service
  seam trace web :80 --from host                    is it up?
  seam trace web 192.0.2.1:8080 --from 203.0.113.9  to a published port`,
		Args:              containerAndTarget,
		ValidArgsFunction: c.completePacket,
		RunE:              func(cmd *cobra.Command, args []string) error { return c.packet(cmd.Context(), &f, args) },
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().BoolVar(&f.udp, "udp", false, "a datagram, not a TCP connection")
	cmd.Flags().StringVar(&f.from, "from", "", "`sender`: host, or an address outside (default: the container)")
	offer(cmd, "from", "host")
	cmd.Flags().BoolVar(&f.lookup, "no-probe", false, "look up only: send nothing, change nothing")
	cmd.Flags().DurationVar(&f.wait, "wait", time.Second, "longest `time` to wait for an answer")
	return cmd
}

func containerAndTarget(cmd *cobra.Command, args []string) error {
	if len(args) == 2 || len(args) == 3 {
		return nil
	}
	return hint(usage("a container is wanted, and where to"), "%s; seam ls lists containers", cmd.UseLine())
}

// packet explains the way, and fails if the packet does not pass, for scripts.
func (c *cli) packet(ctx context.Context, f *packetFlags, args []string) error {
	records, err := c.records()
	if err != nil && len(records) == 0 {
		return err
	}
	container, target := args[:len(args)-1], args[len(args)-1]
	r, err := c.chooseOne(records, container)
	if err != nil {
		return err
	}
	q, err := c.question(f, records, r, target)
	if err != nil {
		return err
	}
	ns, err := netns.Open(r.NetNS)
	if err != nil {
		return &failure{cni.Errorf(cni.CodeUnknownContainer, "%s: %w", r.Tag(), err), exitNotFound, "seam gc frees what belongs to containers that are gone"}
	}
	defer ns.Close()
	q.End.NS = ns
	way, err := c.way(ctx, q)
	if errors.Is(err, fs.ErrNotExist) {
		return hint(fmt.Errorf("%s: %w", r.Tag(), err), "seam show %s %s says what of it is there", r.ContainerID, r.IfName)
	}
	if err != nil {
		return err
	}
	if c.flags.json {
		err = c.printJSON(explainedWay{r.Attachment, way})
	} else {
		c.printWay(r, way)
	}
	if err == nil && !way.Passes() {
		err = &failure{err: errSaid, exit: exitFailed}
	}
	return err
}

func (c *cli) way(ctx context.Context, q trail.Question) (*trail.Way, error) {
	host := trail.Host{Foreign: (&foreignRules{ctx: ctx}).text}
	var err error
	if host.Links, err = c.host.Links(); err != nil {
		return nil, err
	}
	if host.Table, err = c.host.Table(); err != nil {
		return nil, err
	}
	return trail.Explain(ctx, host, q)
}

// chooseOne returns the one attachment that is meant.
func (c *cli) chooseOne(records []seam.Record, args []string) (*seam.Record, error) {
	found, err := c.choose(records, args)
	if err != nil {
		return nil, err
	}
	if len(found) == 1 {
		return found[0], nil
	}
	names := make([]string, 0, len(found))
	for _, r := range found {
		names = append(names, r.IfName)
	}
	return nil, usage("%s has several interfaces: name one of %s", args[0], strings.Join(names, ", "))
}

// question is what the arguments ask.
func (c *cli) question(f *packetFlags, records []seam.Record, r *seam.Record, target string) (q trail.Question, err error) {
	q = trail.Question{Origin: trail.FromContainer, Probe: !f.lookup, Wait: f.wait}
	q.End = trail.End{Tag: r.Tag(), IfName: r.IfName, Addresses: addressesOf(r)}
	if f.wait <= 0 {
		return q, usage("--wait %s: must be more than nothing", f.wait)
	}
	if f.from != "" {
		if q.From, q.Origin, err = sender(f.from); err != nil {
			return q, err
		}
	}
	host, port, err := splitTarget(target)
	if err != nil {
		return q, err
	}
	choices, err := c.targets(records, r, host)
	if err != nil {
		return q, err
	}
	to := choices[0]
	for _, a := range choices { // of the sender's family, if there is one
		if own := q.From; own.IsValid() && own.Is4() == a.Is4() {
			to = a
			break
		}
	}
	q.To = netip.AddrPortFrom(to, port)
	switch {
	case port == 0 && f.udp:
		return q, usage("%s: --udp wants a port: TO:PORT", target)
	case f.udp:
		q.Protocol = unix.IPPROTO_UDP
	case port != 0:
		q.Protocol = unix.IPPROTO_TCP
	}
	return q, nil
}

// sender reads --from.
func sender(from string) (netip.Addr, trail.Origin, error) {
	if from == "host" {
		return netip.Addr{}, trail.FromHost, nil
	}
	a, err := netip.ParseAddr(from)
	if err != nil {
		return a, "", usage("--from %q: it is host or an address", from)
	}
	if err := mustBeOfOne(a); err != nil {
		return a, "", err
	}
	return a.Unmap(), trail.FromOutside, nil
}

// mustBeOfOne refuses addresses that are not one machine's wherever it is asked from.
// IPv4's link-local ones pass: clouds have services there that are routed to.
func mustBeOfOne(a netip.Addr) error {
	switch a = a.Unmap(); {
	case a.Is6() && a.IsLinkLocalUnicast():
		return hint(usage("%s: a link-local address of IPv6 leads to another machine on each link", a), "name another address of that machine")
	case a.IsGlobalUnicast(), a.IsLoopback(), a.IsLinkLocalUnicast():
		return nil
	}
	return usage("%s: it is no machine's own address", a)
}

// splitTarget divides HOST, HOST:PORT, :PORT, an IPv6 address, or one in brackets.
func splitTarget(s string) (host string, port uint16, err error) {
	if _, err := netip.ParseAddr(s); err == nil {
		return s, 0, nil
	}
	host, digits, ok := cutLast(s, ":")
	if !ok {
		return strings.Trim(s, "[]"), 0, nil
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n == 0 {
		return "", 0, usage("%q: the port is a number from 1 to 65535", s)
	}
	return strings.Trim(host, "[]"), uint16(n), nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// targets are the addresses that the target may mean, at least one.
func (c *cli) targets(records []seam.Record, r *seam.Record, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap()}, mustBeOfOne(a)
	}
	to := r
	if host != "" {
		found, err := c.choose(records, []string{host})
		if err != nil {
			return nil, hint(usage("%q is neither an address nor a container", host), "names of hosts are not looked up; seam ls lists containers")
		}
		to = found[0]
		for _, other := range found { // the one on the same network, if there is one
			if other.Network == r.Network {
				to = other
			}
		}
	}
	if all := addressesOf(to); len(all) > 0 {
		return all, nil
	}
	return nil, fmt.Errorf("container %s: no address is on record", to.ContainerID)
}

func addressesOf(r *seam.Record) (all []netip.Addr) {
	if r.Result == nil {
		return nil
	}
	for _, ip := range r.Result.PodIPs(r.IfName) {
		all = append(all, ip.Address.Addr())
	}
	return all
}
