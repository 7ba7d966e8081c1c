package plugins

import (
	"slices"

	"github.com/seamnet/seam/conformance"
)

// A deletion is a way in which DEL may be called.
type deletion struct {
	name, says, source string
	force              conformance.Force
	podGone            bool // the namespace is gone by then
	noNetNS            bool // CNI_NETNS is empty
	noResult           bool // the configuration has no prevResult
	noCapabilities     bool // the configuration has no runtimeConfig
	again              bool // DEL is called once more
}

func deletions() []deletion {
	return []deletion{
		{name: "twice", force: conformance.Must, source: ofDEL, again: true,
			says: "A second DEL of the same attachment succeeds, and nothing is left."},
		{name: "pod-gone", force: conformance.Should, source: ofDEL, podGone: true,
			says: "DEL succeeds when the namespace is gone, and nothing is left on the host."},
		{name: "no-netns", force: conformance.Should, source: ofDEL, podGone: true, noNetNS: true,
			says: "DEL succeeds with an empty CNI_NETNS after the namespace is gone, and nothing is left on the host."},
		{name: "no-result", force: conformance.Should, source: "practice: a runtime that lost its cache, or whose ADD failed, has no result", noResult: true,
			says: "DEL succeeds without prevResult, and nothing is left."},
		{name: "no-capabilities", force: conformance.Should, source: "practice: a runtime that lost its cache does not know which capabilities it asked for", noCapabilities: true,
			says: "DEL succeeds without runtimeConfig, and nothing is left."},
		{name: "nothing-known", force: conformance.Should, source: "practice: after a restart a runtime may know nothing but the container's ID", podGone: true, noNetNS: true, noResult: true, noCapabilities: true,
			says: "DEL succeeds with no namespace, prevResult or runtimeConfig, and nothing is left on the host."},
	}
}

func deletionChecks() []check {
	var all []check
	for _, d := range deletions() {
		c := conformance.Check{ID: "leaks/del-" + d.name, Force: d.force, Source: d.source, Says: d.says}
		all = append(all, check{c, nil, d.check})
	}
	return all
}

func (d deletion) check(h *host) {
	if d.noCapabilities && !d.noResult && !slices.ContainsFunc(h.network.Members, func(m member) bool { return m.Conf.Get("capabilities") != nil }) {
		h.Skipf("no plugin of the chain has capabilities")
	}
	first := h.attachEquipped()
	d.run(first)
	h.restoreSpare()
	before := h.footprint()
	a := h.attachEquipped()
	d.run(a)
	h.compare(comparison{what: "after DEL (" + d.name + ")", before: before, of: []*attachment{a}, gone: !d.podGone})
}

func (d deletion) run(a *attachment) {
	if d.podGone {
		a.h.remove(a.Pod)
	}
	if d.noNetNS {
		a.Pod.Path = ""
	}
	if d.noResult {
		a.Raw = nil
	}
	if d.noCapabilities {
		a.Capabilities = nil
	}
	a.detach()
	if d.again {
		if err := a.del(); err != nil {
			a.h.Errorf("again: %v", err)
		}
	}
}
