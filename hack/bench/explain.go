package main

import (
	"fmt"
	"strings"
	"time"
)

// writeParts tells where the time goes.
func (f *Figures) writeParts(b *strings.Builder) {
	b.WriteString("## Where the time goes\n\n")
	b.WriteString("Medians of the steps, in milliseconds, one at a time. A plugin's time is without that of the plugin " +
		"that it delegates to. Medians do not add up exactly to the median of the whole.\n\n")
	chains, none, many := f.Plan.Compared.Chains, 0, f.Plan.Compared.most()
	for _, verb := range []string{"ADD", "DEL"} {
		for _, chain := range chains {
			f.writeBreakdown(b, verb, chain, none)
		}
	}
	f.writeBreakdown(b, "ADD", chains[0], many)
	for _, chain := range f.Plan.Whole.Chains {
		f.writeBreakdown(b, "ADD", chain, none)
	}
	b.WriteString("What grows with the number of ports is the kernel's bridge: it goes through all ports when one joins, and a pod that " +
		"goes up announces itself by broadcast (ARP) and multicast (IPv6), which the bridge hands to every port before the " +
		"message that set the pod up is answered. The floor pays the same.\n\n")
	f.writeStart(b)
	c := Cell{Verb: "ADD", Contender: inProcess, Chain: chains[0]}
	if first := f.Parts[c][firstEver]; len(first) > 0 {
		fmt.Fprintf(b, "The first attachment of a host also makes the bridge and the firewall's static rules, and loads what the kernel loads "+
			"when it is first asked: in process, %s ms with %s.\n\n", digits(median(first).Wall), c.Chain)
	}
}

func (f *Figures) writeBreakdown(b *strings.Builder, verb, chain string, present int) {
	fmt.Fprintf(b, "### %s, %s, %s present\n\n| | ms | times the floor |\n|---|--:|--:|\n", verb, chain, thousands(present))
	floor := f.median(Cell{verb, floorName, chain, present, false}).Wall
	for _, contender := range []string{inProcess, floorName} {
		c := Cell{verb, contender, chain, present, false}
		if f.median(c).Wall == 0 {
			continue
		}
		fmt.Fprintf(b, "| **%s** | **%s** | **%s** |\n", contender, digits(f.median(c).Wall), times(f.median(c).Wall, floor))
		for _, part := range f.Order[c] {
			if part == firstEver {
				continue
			}
			took := median(f.Parts[c][part]).Wall
			fmt.Fprintf(b, "| · %s | %s | %s |\n", part, digits(took), times(took, floor))
		}
	}
	b.WriteString("\n")
}

func times(d, base time.Duration) string {
	if base == 0 {
		return notMeasured
	}
	return fmt.Sprintf("%.2f", float64(d)/float64(base))
}

// writeStart tells what an executed plugin pays before any work.
func (f *Figures) writeStart(b *strings.Builder) {
	of := func(contender string) string {
		costs := f.Start[contender]
		if len(costs) == 0 {
			return notMeasured
		}
		c := median(costs)
		return fmt.Sprintf("%s ms (%s ms of CPU)", digits(c.Wall), digits(c.CPU))
	}
	for _, chain := range f.Plan.Compared.Chains {
		c := Cell{Verb: "ADD", Contender: executed, Chain: chain}
		in := c
		in.Contender = inProcess
		fmt.Fprintf(b, "Executed, ADD with %s takes %s ms; in process %s ms.\n", chain, digits(f.median(c).Wall), digits(f.median(in).Wall))
	}
	fmt.Fprintf(b, "What is between them is libcni and the start of each plugin of the chain. A program that is started, reads its input, tells its version "+
		"and ends takes %s if it is Seam, and %s if it is the reference's bridge plugin.\n\n", of(executed), of(reference))
}

func (f *Figures) writeMethod(b *strings.Builder, m Machine) {
	fmt.Fprintf(b, `## How it was measured

The machine: %d CPUs (%s), %s of memory, Linux %s, %s, iptables %s.

To repeat it: `+"`make bench`"+`, as root, which builds the reference plugins v1.9.1 as well. It needs the packages iproute2,
nftables and iptables, and strace to count programs. Without it, and without `+"`SEAM_REFERENCE_PLUGINS`"+` for a quick look
at whether it works: `+"`go run ./hack/bench -quick -out /tmp`"+`.

The contenders:

- **%s**: the reference plugins v1.9.1, executed by libcni v1.3.1, which calls AddNetworkList and DelNetworkList. They are
  set up as they come: masquerading and port mappings by iptables.
- **%s**: Seam's one program under the plugins' names, executed by the same libcni from the same process.
- **%s**: a `+"`seam.Runtime`"+` with the built-in plugins linked in, with journal, locks, cache and leases.
- **%s**: the same changes to the kernel by bare netlink messages in one loop, each waited for: the veth with its peer in the
  pod, its host end's alias, bridge and state in one message, address, state and route in the pod, and one nftables
  transaction. With port mappings, a message more sets the bridge port's
  hairpin mode. It writes no files, looks up only indexes and returns no result. It leaves tracked
  connections alone; Seam's portmap makes the kernel forget those of its ports, for which the kernel goes through its whole
  table (net.netfilter.nf_conntrack_buckets) unless the host tracks nothing at all. Before the run, `+"`ip`, `nft`"+` and the settings of
  the links were compared after Seam's ADD and after the floor's, and after DEL: they did not differ.

`, m.CPUs, m.CPU, m.Memory, m.Kernel, m.Go, m.IPTables, reference, executed, inProcess, floorName)
	f.writeConditions(b)
}

func (f *Figures) writeConditions(b *strings.Builder) {
	p := f.Plan
	fmt.Fprintf(b, `The conditions:

- Each contender has a host of its own, a network and a mount namespace, for each chain and number of present attachments, with
  /run and /var/lib/cni on a tmpfs. With none present, all hosts of a chain take turns, in %d rounds, so that whatever else the
  machine does hits all of them. With many present, one host is measured after another, as a thousand pods keep the kernel busy
  for other hosts as well. The reference has its turn in every %s round. Before that, each is warmed up.
- In every host one attachment stays throughout, besides those that are counted as present: the bridge is up, and what
  attachments share is there. The bridge has a subnet of /%d; a bridge cannot have more than 1,023 ports.
- Pods are made before the clock starts, and kept. Before each turn the process waits until the kernel's lock of links is free.
- A turn is %d attachments one after another, all ADD and then all DEL, and then %d at once, all ADD and then all DEL. Each figure
  is thus the median of %d calls, or of %d turns at once; of the reference, of %d and %d.
- CPU that the kernel spends on its own threads on behalf of an attachment is in nobody's account.

The run took %s.
`, p.Rounds, ordinal(p.ReferenceEvery), subnetBits, p.Alone, p.Width,
		p.Rounds*p.Alone, p.Rounds, p.referenceTurns()*p.Alone, p.referenceTurns(), f.Took.Round(time.Second))
}

func ordinal(n int) string {
	words := []string{"", "single", "second", "third", "fourth", "fifth"}
	if n < len(words) {
		return words[n]
	}
	return fmt.Sprintf("%dth", n)
}
