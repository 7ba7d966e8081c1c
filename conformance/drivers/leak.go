package drivers

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/seamnet/seam/conformance"
	"github.com/seamnet/seam/link"
)

func leakChecks() []check {
	return []check{
		{conformance.Check{ID: "leaks/endpoint", Force: conformance.Must, Source: practising + "engines ask once, and nobody else knows what was made",
			Says: "A deleted endpoint leaves no link, address, route, rule, mount or part of the firewall behind."}, networks, leakOf(oneLife)},
		{conformance.Check{ID: "leaks/not-joined", Force: conformance.Must, Source: practising + "an engine deletes the endpoint if a later step of the start fails",
			Says: "A deleted endpoint that never joined a sandbox leaves nothing on the host behind."}, networks, leakOf(notJoined)},
		{conformance.Check{ID: "leaks/no-leave", Force: conformance.Should, Source: practising + "after an error of Join some engines go straight to DeleteEndpoint",
			Says: "An endpoint that is deleted without having left its sandbox leaves nothing on the host behind."}, networks, leakOf(noLeave)},
		{conformance.Check{ID: "leaks/engine-killed", Force: conformance.Should, Source: practising + "a killed engine calls Leave and DeleteEndpoint when the sandbox is no more",
			Says: "An endpoint that is deleted when its sandbox is gone leaves nothing on the host behind."}, networks, leakOf(sandboxGone)},
		{conformance.Check{ID: "leaks/concurrent", Force: conformance.Must, Source: practising + "calls for several containers come at the same time",
			Says: "Sixteen endpoints that come and go at the same time leave nothing on the host behind."}, networks, leakOf(sixteenLives)},
		{conformance.Check{ID: "leaks/network", Force: conformance.Must, Source: practising + "engines ask once, and nobody else knows what was made",
			Says: "A deleted network leaves nothing on the host behind."}, networks, checkNetworkLeak},
		{conformance.Check{ID: "leaks/killed", Force: conformance.Should, Source: practising + "errors of what takes away are ignored, but the calls come",
			Says: "Endpoints that are deleted when the driver was killed while it made them, and started again, leave nothing on the host behind."}, networks | command, checkKilledLeak},
		{conformance.Check{ID: "leaks/files", Force: conformance.Should, Source: practising + "a driver serves for months",
			Says: "In the driver's folder there are no more files after lives of endpoints and networks than before."}, networks | command, checkFiles},
		{conformance.Check{ID: "leaks/descriptors", Force: conformance.Should, Source: practising + "a driver serves for months",
			Says: "The driver has no more files, sockets and namespaces open after lives of endpoints than before."}, networks | command, checkDescriptors},
	}
}

func oneLife(n *network) error {
	p, err := n.tryEndpoint(modern)
	return errors.Join(err, p.stop())
}

func notJoined(n *network) error {
	p, err := n.prepare()
	if err == nil {
		err = p.create()
	}
	return errors.Join(err, p.stop())
}

func noLeave(n *network) error {
	p, err := n.tryEndpoint(modern)
	p.has.joined = false
	return errors.Join(err, p.bringBack(), p.remove())
}

// sandboxGone ignores what engines ignore.
func sandboxGone(n *network) error {
	p, err := n.tryEndpoint(modern)
	p.Sandbox.remove()
	n.e.ignored(p.stop())
	return err
}

func sixteenLives(n *network) error {
	return eachOf(sixteen, func(int) error { return oneLife(n) })
}

// leakOf compares the host before and after lives, of which the first, that may bring
// things that are for all, does not count.
func leakOf(live func(n *network) error) func(e *engine) {
	return func(e *engine) {
		n := e.network()
		if err := oneLife(n); err != nil {
			e.Fatalf("%v", err)
		}
		before := e.footprint()
		if err := live(n); err != nil {
			e.Errorf("%v", err)
		}
		e.same(before)
		n.finish()
	}
}

func checkNetworkLeak(e *engine) {
	whole := func() {
		n := e.network()
		if err := oneLife(n); err != nil {
			e.Errorf("%v", err)
		}
		n.finish()
	}
	whole()
	before := e.footprint()
	whole()
	e.same(before)
}

// checkKilledLeak kills the driver while endpoints come. What engines are told to delete then
// is all that they know of. Addresses are requested before: whether pools outlive the driver is
// another question.
func checkKilledLeak(e *engine) {
	n := e.network()
	const rounds, atATime = 5, 4
	var all []*endpoint
	for range rounds*atATime + 2 {
		p, err := n.prepare()
		if err != nil {
			e.Fatalf("%v", err)
		}
		all = append(all, p)
	}
	start := func(p *endpoint) error { return errors.Join(p.create(), p.join(modern)) }
	end := func(p *endpoint) error {
		p.has.addresses = false
		return errors.Join(p.leave(), p.remove())
	}
	if err := errors.Join(start(all[0]), end(all[0])); err != nil {
		e.Fatalf("%v", err)
	}
	before := e.footprint()
	for round := range rounds {
		now := all[1+round*atATime:][:atATime]
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = eachOf(len(now), func(i int) error { return start(now[i]) }) // what fails is not the question
		}()
		time.Sleep(rand.N(60 * time.Millisecond))
		e.restart()
		<-ended
		for _, p := range now {
			_ = end(p)
		}
	}
	last := all[len(all)-1]
	if err := errors.Join(start(last), end(last)); err != nil {
		e.Errorf("afterwards: %v", err)
	}
	e.same(before)
}

// footprint returns what is on the host, in the words of ip(8), sorted. What the kernel does
// by itself is not in it.
func (e *engine) footprint() []string {
	s, err := e.links.TakeSnapshotBeside(link.Settings{})
	e.Must(err)
	var lines []string
	all, err := e.links.List()
	e.Must(err)
	for _, l := range all {
		lines = append(lines, fmt.Sprintf("link %s %s", l.Name, l.Kind))
	}
	for _, i := range s.Items() {
		switch i.Kind {
		case "address", "route", "rule", "queueing":
			lines = append(lines, i.Kind+" "+i.Subject)
		}
	}
	lines = append(append(lines, e.firewall()...), e.mounts()...)
	slices.Sort(lines)
	return slices.DeleteFunc(lines, func(line string) bool { return strings.Contains(line, " fe80:") || strings.Contains(line, " ff00:") })
}

// counted is what changes by itself in a firewall.
var counted = regexp.MustCompile(`packets \d+ bytes \d+|expires \S+`)

// firewall returns the rules, if there is a program that prints them.
func (e *engine) firewall() []string {
	nft, err := exec.LookPath("nft")
	if err != nil {
		return nil
	}
	out, err := exec.CommandContext(e.Context(), nft, "list", "ruleset").Output()
	if err != nil {
		return []string{"firewall: " + err.Error()}
	}
	var lines []string
	for line := range strings.Lines(counted.ReplaceAllString(string(out), "")) {
		lines = append(lines, "firewall "+strings.TrimSpace(line))
	}
	return lines
}

// mounts returns what is mounted, if the host is the suite's own, but for sandboxes.
func (e *engine) mounts() []string {
	if e.here {
		return nil
	}
	text, err := os.ReadFile("/proc/self/mountinfo")
	e.Must(err)
	var lines []string
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 4 && !strings.HasPrefix(fields[4], sandboxDir) {
			lines = append(lines, "mount "+fields[4])
		}
	}
	return lines
}

// goneTime is how long what is not needed may stay: some of it goes behind the answer.
const goneTime = 3 * time.Second

// same waits until the host is what it was, or tells what is not.
func (e *engine) same(before []string) {
	for deadline := time.Now().Add(goneTime); ; time.Sleep(20 * time.Millisecond) {
		now := e.footprint()
		if slices.Equal(before, now) {
			return
		}
		if time.Now().After(deadline) || e.Context().Err() != nil {
			e.Errorf("left over: %s; gone: %s", beyond(now, before), beyond(before, now))
			return
		}
	}
}

// beyond returns the lines of all that are not in but, as text.
func beyond(all, but []string) string {
	rest := slices.Clone(but)
	var lines []string
	for _, line := range all {
		if i := slices.Index(rest, line); i >= 0 {
			rest = slices.Delete(rest, i, i+1)
			continue
		}
		lines = append(lines, line)
	}
	if lines == nil {
		return "nothing"
	}
	const most = 20
	more := ""
	if len(lines) > most {
		more = fmt.Sprintf(" and %d more", len(lines)-most)
		lines = lines[:most]
	}
	return strings.Join(lines, ", ") + more
}

func checkFiles(e *engine) {
	files := func() []string {
		var all []string
		e.Must(filepath.WalkDir(driverDir, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err == nil && !d.IsDir() {
				all = append(all, path)
			}
			return err
		}))
		return all
	}
	e.lives(1)
	before := files()
	e.lives(3)
	deadline := time.Now().Add(goneTime)
	now := files()
	for len(now) > len(before) && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
		now = files()
	}
	if len(now) > len(before) {
		e.Errorf("left over: %s", beyond(now, before))
	}
}

// lives makes that many networks, one after the other, with an endpoint each.
func (e *engine) lives(count int) {
	for range count {
		n := e.network()
		if err := oneLife(n); err != nil {
			e.Errorf("%v", err)
		}
		n.finish()
	}
}

func checkDescriptors(e *engine) {
	open := func() int {
		all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", e.driver.cmd.Process.Pid))
		e.Must(err)
		return len(all)
	}
	n := e.network()
	round := func() {
		if err := eachOf(sixteen/2, func(int) error { return oneLife(n) }); err != nil {
			e.Errorf("%v", err)
		}
	}
	round()
	before := open()
	most := before + sixteen/2 // pools of sockets may fill further
	round()
	round()
	now := open()
	for deadline := time.Now().Add(goneTime); now > most && time.Now().Before(deadline); now = open() {
		time.Sleep(20 * time.Millisecond)
	}
	if now > most {
		e.Errorf("%d were open, and after sixteen lives of endpoints there are %d", before, now)
	}
	n.finish()
}
