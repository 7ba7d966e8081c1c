package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// DockerFigures are all that was measured of Docker.
type DockerFigures struct {
	Plan    DockerPlan
	Samples []DockerSample
	Calls   []DockerCall
	Took    time.Duration
}

// of returns all that a cell's step took.
func (f *DockerFigures) of(c DockerCell) (all []Cost) {
	for _, s := range f.Samples {
		if s.DockerCell == c {
			for _, took := range s.Took {
				all = append(all, Cost{Wall: took})
			}
		}
	}
	return all
}

// versus returns how many times the median on Docker's bridge that of the cell is; 0: not
// measured.
func (f *DockerFigures) versus(c DockerCell) float64 {
	own := median(f.of(c)).Wall
	c.Network = ownBridge
	if base := median(f.of(c)).Wall; base > 0 {
		return float64(own) / float64(base)
	}
	return 0
}

// aims are those that Seam set itself, on the newest engine as it comes.
func (f *DockerFigures) aims() []aim {
	engine := f.Plan.Engines[0].Name
	seams := []string{seamBridge, seamChain}
	figures := func(steps ...DockerCell) (list []figure) {
		for _, c := range steps {
			for _, c.Network = range seams {
				c.Engine, c.Proxy = engine, true
				where := c.Network + ", " + c.Step
				if c.Ports > 0 {
					where += fmt.Sprintf(", %d ports published", c.Ports)
				}
				list = append(list, figure{where: where, value: f.versus(c)})
			}
		}
		return list
	}
	return []aim{
		{"An ephemeral container takes no longer than on Docker's bridge", 1,
			figures(DockerCell{Step: stepRun}, DockerCell{Step: stepRun, Ports: publishedPorts}, DockerCell{Step: stepCommand})},
		{"Connecting a container, and disconnecting it, takes at most half as long as with Docker's bridge", 1. / 2,
			figures(DockerCell{Step: stepConnect}, DockerCell{Step: stepDisconnect})},
		{fmt.Sprintf("%d containers at once take no longer than on Docker's bridge", f.Plan.Crowd), 1,
			figures(DockerCell{Step: stepCrowdUp}, DockerCell{Step: stepCrowdDown})},
	}
}

func writeDocker(dir string, f *DockerFigures) error {
	return os.WriteFile(filepath.Join(dir, "benchmarks-docker.md"), []byte(f.page(thisMachine())), 0o644)
}

// page writes the figures as docs/benchmarks-docker.md.
func (f *DockerFigures) page(m Machine) string {
	var b strings.Builder
	b.WriteString("# Benchmarks with Docker\n\n`make bench-docker` measured this and wrote this page, all in one run; nothing here is edited by hand. " +
		"[What plugins take without Docker](benchmarks.md) is a page of its own.\n\n## Aims\n\n")
	for _, a := range f.aims() {
		b.WriteString(a.sentence() + "\n")
	}
	fmt.Fprintf(&b, "\nMedians, on Docker %s.\n\n## Times\n\nMilliseconds of one container, the wall clock of who asks the engine: the median and, in brackets, "+
		"the 90th percentile. The last two columns are Seam's networks against Docker's bridge. What a container takes that has no network (%s) "+
		"is in all the others, too.\n\n", f.Plan.Engines[0].Name, noNetwork)
	for _, e := range f.Plan.Engines {
		f.writeDockerTimes(&b, e.Name)
	}
	f.writeCalls(&b)
	f.writeDockerMethod(&b, m)
	return b.String()
}

// A dockerRow is a row of the table of times.
type dockerRow struct {
	title string
	cell  DockerCell
}

func (f *DockerFigures) dockerRows() []dockerRow {
	crowd := fmt.Sprintf("%d at once: ", f.Plan.Crowd)
	ports := fmt.Sprintf(", %d ports published", publishedPorts)
	return []dockerRow{
		{"**container, from create to removal**", DockerCell{Proxy: true, Step: stepRun}},
		{"· create", DockerCell{Proxy: true, Step: stepCreate}},
		{"· start", DockerCell{Proxy: true, Step: stepStart}},
		{"· end and removal", DockerCell{Proxy: true, Step: stepEnd}},
		{"**container" + ports + "**", DockerCell{Proxy: true, Step: stepRun, Ports: publishedPorts}},
		{"· start", DockerCell{Proxy: true, Step: stepStart, Ports: publishedPorts}},
		{"· end and removal", DockerCell{Proxy: true, Step: stepEnd, Ports: publishedPorts}},
		{"**container" + ports + ", engine without userland proxy**", DockerCell{Step: stepRun, Ports: publishedPorts}},
		{"· start", DockerCell{Step: stepStart, Ports: publishedPorts}},
		{"· end and removal", DockerCell{Step: stepEnd, Ports: publishedPorts}},
		{"**`docker run --rm`**, the command", DockerCell{Proxy: true, Step: stepCommand}},
		{"**`network connect`**", DockerCell{Proxy: true, Step: stepConnect}},
		{"**`network disconnect`**", DockerCell{Proxy: true, Step: stepDisconnect}},
		{"**" + crowd + "create and start**, each's share", DockerCell{Proxy: true, Step: stepCrowdUp}},
		{"**" + crowd + "remove**, each's share", DockerCell{Proxy: true, Step: stepCrowdDown}},
	}
}

func (f *DockerFigures) writeDockerTimes(b *strings.Builder, engine string) {
	fmt.Fprintf(b, "### Docker %s\n\n| | %s | %s / bridge | host's network / bridge |\n|---|--:|--:|--:|--:|--:|--:|--:|\n", engine, strings.Join(everyNetwork, " | "), seamBridge)
	for _, row := range f.dockerRows() {
		c := row.cell
		c.Engine = engine
		var entries []string
		for _, c.Network = range everyNetwork {
			entries = append(entries, dockerEntry(f.of(c)))
		}
		for _, c.Network = range []string{seamBridge, seamChain} {
			entries = append(entries, fraction(f.versus(c), 1))
		}
		if slices.ContainsFunc(entries, func(e string) bool { return e != notMeasured }) {
			fmt.Fprintf(b, "| %s | %s |\n", row.title, strings.Join(entries, " | "))
		}
	}
	b.WriteString("\n")
}

func dockerEntry(costs []Cost) string {
	if len(costs) == 0 {
		return notMeasured
	}
	return fmt.Sprintf("%s (%s)", digits(median(costs).Wall), digits(quantile(costs, 0.9).Wall))
}

// writeCalls shows how long the driver took, call by call.
func (f *DockerFigures) writeCalls(b *strings.Builder) {
	b.WriteString("## The driver's own time\n\nMilliseconds from a call's arrival at seamd to its answer, of all calls that the engine made while the times above were " +
		"measured, with the userland proxy on: percentiles, and the longest.\n\n")
	for _, e := range f.Plan.Engines {
		fmt.Fprintf(b, "### Docker %s, one container at a time\n\n", e.Name)
		f.writeCallTable(b, e.Name, false)
		fmt.Fprintf(b, "### Docker %s, %d containers at once\n\n", e.Name, f.Plan.Crowd)
		f.writeCallTable(b, e.Name, true)
	}
}

func (f *DockerFigures) writeCallTable(b *strings.Builder, engine string, crowd bool) {
	b.WriteString("| method | calls | p50 | p90 | p99 | longest |\n|---|--:|--:|--:|--:|--:|\n")
	for _, c := range f.callsOf(engine, crowd) {
		var costs []Cost
		for _, took := range c.Took {
			costs = append(costs, Cost{Wall: took})
		}
		fmt.Fprintf(b, "| %s | %d |", c.Method, len(costs))
		for _, share := range []float64{0.5, 0.9, 0.99, 1} {
			fmt.Fprintf(b, " %s |", digits(quantile(costs, share).Wall))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
}

// methodOrder is that in which an engine calls.
var methodOrder = []string{
	"IpamDriver.RequestAddress", "NetworkDriver.CreateEndpoint", "NetworkDriver.Join", "NetworkDriver.ProgramExternalConnectivity",
	"NetworkDriver.EndpointOperInfo", "NetworkDriver.RevokeExternalConnectivity", "NetworkDriver.Leave", "NetworkDriver.DeleteEndpoint", "IpamDriver.ReleaseAddress",
}

func (f *DockerFigures) callsOf(engine string, crowd bool) (list []DockerCall) {
	for _, c := range f.Calls {
		if c.Engine == engine && c.Crowd == crowd {
			list = append(list, c)
		}
	}
	place := func(c DockerCall) int { return slices.Index(methodOrder, c.Method) }
	slices.SortFunc(list, func(a, b DockerCall) int {
		return cmp.Or(cmp.Compare(place(a), place(b)), cmp.Compare(a.Method, b.Method))
	})
	return list
}

func (f *DockerFigures) writeDockerMethod(b *strings.Builder, m Machine) {
	p := f.Plan
	fmt.Fprintf(b, `## How it was measured

The machine: %d CPUs (%s), %s of memory, Linux %s, %s, iptables %s.

To repeat it: `+"`make bench-docker`"+`, as root. It measures with the engines that are there: Debian's, and those that
`+"`make engines`"+` builds. For a quick look at whether it works: `+"`go run ./hack/bench -docker -quick -out /tmp`"+`.

The networks, all of one engine:

- **%s**: a container without a network. What it takes the engine takes for all.
- **%s**: what a container is on when nothing is said.
- **%s**: `+"`docker network create NAME`"+`, the engine's own driver with its own IPAM.
- **%s**: `+"`docker network create -d seam NAME`"+`: Seam's driver without any option, with the engine's IPAM.
- **%s**: `+"`docker network create -d seam -o seam.network=NAME --ipam-driver seam NAME`"+`: a network of the host's, as nerdctl
  makes it (bridge with ipMasq and hairpin, host-local, portmap, firewall and tuning).

The conditions:

- Each engine is on a node of its own: network, mount and process namespaces, with all files in memory. It is set up as it
  comes, with `+"`--iptables`, `--ip6tables`"+` and the userland proxy on, which is switched off for the rows that say so. Each has a
  containerd of its own, Debian's.
- The networks take turns: %d rounds, %d of published ports and of the command, %d of many at once; in each of the %d rounds %d
  times connected and disconnected, one after another. Each turn waits until the kernel's lock of links is free.
- The engine is asked by its socket, as clients do; the command, docker, starts first, which takes time of its own.
- A container that ends at once executes busybox's true. One that is connected and disconnected runs, and is on a bridge
  of Docker's besides.
- The driver tells its own times in its log, which it writes at level debug for that.

The run took %s.
`, m.CPUs, m.CPU, m.Memory, m.Kernel, m.Go, m.IPTables, noNetwork, defaultBridge, ownBridge, seamBridge, seamChain,
		p.Rounds, p.Commands, p.Crowds, p.Rounds, p.Pairs, f.Took.Round(time.Second))
}
