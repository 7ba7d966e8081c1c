package plugins

import (
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/seamnet/seam/link"
)

// A footprint is all that a host has, by what a person would call it; the value is what
// of it may change. Two of them can be compared.
type footprint map[string]string

// put adds one thing; of several that look alike each counts.
func (f footprint) put(what, value string) {
	key := what
	for n := 2; ; n++ {
		if _, ok := f[key]; !ok {
			f[key] = value
			return
		}
		key = fmt.Sprintf("%s (%d)", what, n)
	}
}

// since returns the differences to an earlier footprint. What is gone is told only if
// asked for: a namespace that ended may have taken something with it. Sysctls come and go
// with links, and are told if they changed.
func (f footprint) since(earlier footprint, gone bool) []string {
	var differ []string
	for _, key := range slices.Sorted(maps.Keys(f)) {
		was, ok := earlier[key]
		switch {
		case !ok && isSysctl(key):
		case !ok:
			differ = append(differ, "left: "+strings.TrimSpace(key+" "+f[key]))
		case was != f[key]:
			differ = append(differ, fmt.Sprintf("changed: %s: %s, was %s", key, f[key], was))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(earlier)) {
		if _, ok := f[key]; !ok && gone && !isSysctl(key) {
			differ = append(differ, "gone: "+strings.TrimSpace(key+" "+earlier[key]))
		}
	}
	return differ
}

func isSysctl(key string) bool { return strings.HasPrefix(key, "sysctl ") }

// footprint returns the host's. Sysctls are in it, addresses, routes of all tables but the
// kernel's own local one, rules, permanent neighbours and forwarding entries, queueing, the
// firewall, files and mounts of the folders of state, and processes.
func (h *host) footprint() footprint {
	f := make(footprint)
	s := h.snapshot(h.links)
	f.putLinks(s, func(string) bool { return true })
	h.Must(f.putForwarding(s))
	h.Must(h.putFirewall(f))
	h.Must(f.putFiles(h.isOurs))
	h.Must(f.putMounts(h.isOurs))
	h.Must(f.putProcesses())
	return f
}

// snapshot tries again if a link goes while it is looked at.
func (h *host) snapshot(links *link.Handle) (s *link.Snapshot) {
	var err error
	h.until(dying, func() bool {
		s, err = links.TakeSnapshotBeside(nil)
		return err == nil
	})
	h.Must(err)
	return s
}

// inside returns what a pod has of links, addresses, routes and rules, but for lo, which
// is nobody's to take away.
func (h *host) inside(p *pod) footprint {
	f := make(footprint)
	s := h.snapshot(p.links)
	f.putLinks(s, func(kind string) bool { return kind != "sysctl" })
	return f
}

// putLinks adds the links of a snapshot, and what it has of those kinds.
func (f footprint) putLinks(s *link.Snapshot, wanted func(kind string) bool) {
	names := map[int]string{0: ""}
	for _, l := range s.Links {
		names[l.Index] = l.Name
	}
	for _, l := range s.Links {
		value := fmt.Sprintf("(%s, mtu %d, up %t", l.Kind, l.MTU, l.Up)
		for _, more := range []struct{ name, value string }{{"master", names[l.Master]}, {"alias", l.Alias}, {"altname", strings.Join(l.AltNames, " ")}} {
			if more.value != "" {
				value += ", " + more.name + " " + more.value
			}
		}
		if l.Promisc {
			value += ", promisc"
		}
		f.put("link "+l.Name, value+")")
	}
	for _, i := range s.Items() {
		if wanted(i.Kind) {
			f.put(i.Kind+" "+i.Subject, i.Value)
		}
	}
}

// settling is how long the kernel has to end what goes on behind a plugin's back, such as
// processes and duplicate detection; dying, how long for what was in a namespace that ended.
const (
	settling = 2 * time.Second
	dying    = 6 * time.Second
)

// A comparison says between what there must be no difference.
type comparison struct {
	what   string        // when it was looked, for the note: "after DEL"
	before footprint     // the host's
	of     []*attachment // whose traces are looked for
	gone   bool          // what is gone counts, too: no namespace ended
}

// compare reports what is on the host that was not before, once it does not become less
// any more.
func (h *host) compare(c comparison) {
	if _, err := exec.LookPath("nft"); err != nil {
		h.Logf("without the program nft, of nftables only Seam's own tables are compared")
	}
	var differ []string
	patience := dying
	if c.gone {
		patience = settling
	}
	h.until(patience, func() bool {
		differ = append(h.footprint().since(c.before, c.gone), h.mentions(c.of)...)
		return len(differ) == 0
	})
	h.tell(c.what, differ)
}

// until repeats a question for a while, soon and then more rarely; it ends with the check.
func (h *host) until(patience time.Duration, ok func() bool) bool {
	deadline, pause := time.Now().Add(patience), 5*time.Millisecond
	for {
		if ok() {
			return true
		}
		if time.Now().Add(pause).After(deadline) || h.Context().Err() != nil {
			return false
		}
		time.Sleep(pause)
		pause = min(2*pause, 500*time.Millisecond)
	}
}

// told is how many differences of a kind a note lists.
const told = 6

// tell reports the differences, of each kind a few.
func (h *host) tell(what string, differ []string) {
	if len(differ) == 0 {
		return
	}
	var kinds []string
	of := make(map[string][]string)
	for _, d := range differ {
		kind := strings.Join(strings.Fields(d)[:2], " ")
		if of[kind] == nil {
			kinds = append(kinds, kind)
		}
		of[kind] = append(of[kind], d)
	}
	text := what + ", wanted: nothing else than before; seen:"
	for _, kind := range kinds {
		all := of[kind]
		text += "\n  " + strings.Join(all[:min(told, len(all))], "\n  ")
		if len(all) > told {
			text += fmt.Sprintf("\n  and %d more like that (%s …)", len(all)-told, kind)
		}
	}
	h.Errorf("%s", text)
}
