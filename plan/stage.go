package plan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/netns/scratch"
	"github.com/seamnet/seam/nft"
	"github.com/seamnet/seam/plugin"
)

// A Stage is what a rehearsal is played with.
type Stage struct {
	Host    *plugin.Host // that the built-in plugins work on, nothing of it opened yet
	Plugins wire.Path
}

// A rehearsal is one Question on its way to a Plan.
type rehearsal struct {
	*Stage
	question Question
	plan     *Plan

	real    *witness // of the host and the container that were copied
	copied  *witness
	podPath string // of the copy of the container's namespace
	closes  []func() error

	last  *sight  // after the last change that was noted
	stack []*Step // that are being called, outer ones first
	over  bool    // a call failed: what is undone after that is no part of the plan

	macs   map[string]bool // that are not chosen at random
	others []seam.Record   // what is attached
}

// systemFolders are those that built-in plugins keep files in whatever their configuration says.
var systemFolders = []string{"/run/cni"}

// busFolder holds the socket of the system's D-Bus, by which firewalld would be changed.
const busFolder = "/run/dbus"

func (s *Stage) rehearse(ctx context.Context, q Question) (p *Plan, err error) {
	r := &rehearsal{Stage: s, question: q, macs: make(map[string]bool)}
	defer func() { err = errors.Join(err, r.close()) }()
	c := q.Container
	r.plan = &Plan{Network: q.Network.Name, Container: c.ID, IfName: c.IfName, NetNS: c.NetNS, Conflicts: []Conflict{}}
	if err := r.copyHost(); err != nil {
		return nil, fmt.Errorf("copy the host: %w", err)
	}
	result, addErr := r.attach(ctx)
	if err := r.finish(result, addErr); err != nil {
		return nil, err
	}
	return r.plan, nil
}

// close closes what was opened, the last first.
func (r *rehearsal) close() error {
	var errs []error
	for _, c := range slices.Backward(r.closes) {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

// copyHost opens the host, looks at it, and makes this process's namespaces like it.
func (r *rehearsal) copyHost() error {
	if err := mustBeState(r.folders()); err != nil {
		return err
	}
	host, err := r.openNamespace(r.question.Host)
	if err != nil {
		return err
	}
	pod, err := r.openPod(r.question.Container.NetNS, host)
	if err != nil {
		return err
	}
	own, err := netns.Current()
	if err != nil {
		return err
	}
	r.closes = append(r.closes, own.Close)
	if err := mustBeApart(own, host); err != nil {
		return err
	}
	fresh, err := link.ReadSettings(own)
	if err != nil {
		return err
	}
	if r.real, err = r.witness(host, pod, fresh); err != nil {
		return err
	}
	was, err := r.real.look()
	if err != nil {
		return err
	}
	rt := seam.Runtime{CacheDir: r.question.CacheDir}
	r.others, err = rt.Attachments()
	r.note("what is attached", err)
	r.plan.Conflicts = append(r.plan.Conflicts, r.lookForConflicts(was, host)...)
	if err := r.copyFiles(); err != nil {
		return err
	}
	return r.copyNamespaces(was, own, fresh)
}

// mustBeApart refuses to rehearse on the host itself: in the namespaces of who started this
// process, mounts would be made read-only for all.
func mustBeApart(own, host *netns.Namespace) error {
	same, err := own.Same(host)
	if err != nil {
		return err
	}
	mine, err := os.Stat("/proc/self/ns/mnt")
	if err != nil {
		return err
	}
	parents, err := os.Stat(fmt.Sprintf("/proc/%d/ns/mnt", os.Getppid()))
	if err != nil {
		return err
	}
	if same || os.SameFile(mine, parents) {
		return errors.New("a rehearsal must be in namespaces of its own: seam plan NETWORK starts one")
	}
	return nil
}

func (r *rehearsal) openNamespace(path string) (*netns.Namespace, error) {
	ns, err := netns.Open(path)
	if err == nil {
		r.closes = append(r.closes, ns.Close)
	}
	return ns, err
}

func (r *rehearsal) openPod(path string, host *netns.Namespace) (*netns.Namespace, error) {
	if path != "" {
		ns, err := r.openNamespace(path)
		if err != nil {
			return nil, cni.Errorf(cni.CodeInvalidNetNS, "%w", err)
		}
		same, err := ns.Same(host)
		if same { // the copy is another one, and would not be refused
			err = cni.Errorf(cni.CodeInvalidNetNS, "network namespace %s is the host's own", path)
		}
		return ns, err
	}
	ns, err := netns.New()
	if err == nil {
		r.closes = append(r.closes, ns.Close)
	}
	return ns, err
}

// witness returns one for a host and a container, whose firewall's records are where the
// Stage's host has them.
func (r *rehearsal) witness(host, pod *netns.Namespace, fresh link.Settings) (*witness, error) {
	w := &witness{fresh: fresh, folders: r.folders()}
	var err error
	for _, open := range []struct {
		ns *netns.Namespace
		to **link.Handle
	}{{host, &w.host}, {pod, &w.pod}} {
		if *open.to, err = link.In(open.ns); err != nil {
			return nil, err
		}
		r.closes = append(r.closes, (*open.to).Close)
	}
	err = host.Do(func() error {
		w.table, err = nft.Open(filepath.Join(r.Host.Dirs.State, "nft"))
		return err
	})
	if err == nil {
		r.closes = append(r.closes, w.table.Close)
	}
	return w, err
}

// folders are those that are written to.
func (r *rehearsal) folders() []string {
	all := append(slices.Clone(systemFolders), r.Host.Dirs.Leases, r.Host.Dirs.State, r.Host.Dirs.Drivers, r.question.CacheDir)
	for _, p := range r.question.Network.Plugins {
		var conf any
		if json.Unmarshal(p.JSON, &conf) == nil {
			all = append(all, dataDirs(conf)...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// dataDirs returns the folders that a configuration names for what is to be kept.
func dataDirs(conf any) (dirs []string) {
	switch conf := conf.(type) {
	case map[string]any:
		for key, value := range conf {
			if dir, ok := value.(string); ok && strings.EqualFold(key, "dataDir") && filepath.IsAbs(dir) {
				dirs = append(dirs, dir)
			}
			dirs = append(dirs, dataDirs(value)...)
		}
	case []any:
		for _, value := range conf {
			dirs = append(dirs, dataDirs(value)...)
		}
	}
	return dirs
}

// copyFiles gives this process folders of its own in the place of those that are written to,
// and nothing else that it can write to.
func (r *rehearsal) copyFiles() error {
	folders, err := copyFolders(r.folders())
	if err != nil {
		return err
	}
	_, err = os.Stat(filepath.Join(busFolder, "system_bus_socket"))
	if err == nil && slices.ContainsFunc(r.question.Network.Plugins, func(p seam.PluginConfig) bool { return p.Type == "firewall" }) {
		r.plan.Notes = append(r.plan.Notes, "the copy has no D-Bus: if firewalld runs here, plugin firewall will ask it, and not what is shown")
	}
	if err := scratch.Enter(); err != nil {
		return err
	}
	if err := protect(); err != nil {
		return err
	}
	for _, f := range folders {
		if err := f.mount(); err != nil {
			return err
		}
	}
	return hide(busFolder)
}

// copyNamespaces makes this process's namespace like the host's, and one like the container's.
func (r *rehearsal) copyNamespaces(was *sight, own *netns.Namespace, fresh link.Settings) error {
	pod, err := netns.New()
	if err != nil {
		return err
	}
	r.closes = append(r.closes, pod.Close)
	r.podPath = pod.Path()
	if r.copied, err = r.witness(own, pod, fresh); err != nil {
		return err
	}
	// Host ends of other attachments' links have names of their own, and there may be a
	// thousand: nothing that a plugin does depends on them.
	host := was.host.Others(func(l link.Link) bool { return l.Kind == "veth" && strings.HasPrefix(l.Alias, "seam:") })
	r.note("the copy of the host", r.mirror(r.copied.host, host, was.pairs[onHost]))
	r.note("the copy of the container", r.mirror(r.copied.pod, was.pod, was.pairs[inPod]))
	r.note("the copy of the firewall", r.copied.table.Mirror(r.real.table))
	r.copied.stand = make(map[string]*Link)
	for _, f := range was.facts {
		if f.What == "link" && f.Link.MAC != "" {
			r.macs[f.Link.MAC] = true
			if was.pairs[f.Where][f.Subject] == "" {
				r.copied.stand[f.Link.MAC] = f.Link
			}
		}
	}
	return nil
}

// mirror makes a namespace like another. What its links lead to is in one of its own, as
// other ends are named by their links' numbers, which both namespaces give out.
func (r *rehearsal) mirror(to *link.Handle, of *link.Snapshot, pairs map[string]string) error {
	elsewhere, err := netns.New()
	if err != nil {
		return err
	}
	r.closes = append(r.closes, elsewhere.Close)
	return to.Mirror(link.Mirror{Of: of, Pairs: pairs, Elsewhere: elsewhere})
}

func (r *rehearsal) note(what string, err error) {
	if err != nil {
		r.plan.Notes = append(r.plan.Notes, fmt.Sprintf("%s is not whole: %s", what, strings.ReplaceAll(err.Error(), "\n", "; ")))
	}
}

// attach runs the chain in the copy.
func (r *rehearsal) attach(ctx context.Context) (result *cni.Result, err error) {
	if r.last, err = r.copied.look(); err != nil {
		return nil, err
	}
	c := r.question.Container
	c.NetNS = r.podPath
	rt := &seam.Runtime{Plugins: &finder{r}, CacheDir: r.question.CacheDir, Timeout: r.question.Timeout}
	return rt.Attach(ctx, r.question.Network, c)
}

// finish completes the plan when the chain has been run, as far as it could be.
func (r *rehearsal) finish(result *cni.Result, addErr error) error {
	if addErr == nil {
		err := r.noteChanges()
		if err == nil {
			r.plan.Result, err = r.encode(result)
		}
		if err != nil {
			return err
		}
	}
	if addErr != nil && !errors.Is(addErr, errUnforeseen) {
		r.plan.Conflicts = append(r.plan.Conflicts, r.refused(addErr))
	}
	if err := r.addNotReached(); err != nil {
		return err
	}
	r.noteIPTables()
	r.scrub()
	return nil
}

// noteIPTables notes that rules were made which are not listed: plugin firewall writes down where.
func (r *rehearsal) noteIPTables() {
	dir := filepath.Join(r.Host.Dirs.State, "firewall") + "/"
	each(r.plan, func(c *Change) {
		if c.What != "file" || !strings.HasPrefix(c.Subject, dir) {
			return
		}
		var record struct{ Backend, Walls string }
		data, err := os.ReadFile(c.Subject)
		if err == nil && json.Unmarshal(data, &record) == nil && (record.Backend == "iptables" || record.Walls == "iptables") {
			r.plan.Notes = append(r.plan.Notes, "what plugin firewall makes in iptables was rehearsed, and is not listed")
		}
	})
}

// NotReached is the reason of a step behind one that was refused.
const NotReached = "not reached"

// addNotReached adds the steps of which only what the file says is known.
func (r *rehearsal) addNotReached() error {
	n := r.question.Network
	reason := NotReached
	if slices.ContainsFunc(r.plan.Plugins, (*Step).unforeseen) {
		reason = "what comes before it is not known"
	}
	for _, p := range n.Plugins[len(r.plan.Plugins):] {
		step := &Step{Plugin: p.Type, Unforeseen: reason}
		if why, file := r.why(p.Type, p.JSON); why != "" {
			step.Unforeseen, step.Executed = why, file
		}
		config, err := wire.Compose(p.JSON, n.Name, n.Version, r.question.Container.Capabilities)
		if err != nil {
			return err
		}
		if step.Input, err = wire.Input("ADD", &cni.Request{Config: config}); err != nil {
			return err
		}
		r.plan.Plugins = append(r.plan.Plugins, step)
	}
	return nil
}

func (s *Step) unforeseen() bool {
	return s.Unforeseen != "" || slices.ContainsFunc(s.Delegates, (*Step).unforeseen)
}
