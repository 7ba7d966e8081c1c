package plugins

import (
	"encoding/json"
	"regexp"
	"slices"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
)

func versionChecks() []check {
	return []check{
		{must("version", specVERSION, "VERSION answers with the versions that the plugin supports, each once and of three numbers."), nil, checkVersion},
		{must("version-bare", specVERSION, "VERSION needs no variable but CNI_COMMAND."), nil, checkVersionBare},
		{should("version-no-input", "practice: people and old runtimes ask without a configuration", "VERSION is answered even if stdin is empty."), nil, checkVersionNoInput},
		{must("version-echo", "CNI 1.1.0, section 5, VERSION Success", "The answer to VERSION bears the version that the question was asked in."), nil, checkVersionEcho},
		{should("version-newer", "practice: a newer runtime asks an older plugin", "VERSION is answered though the question is of a version that the plugin does not know."), nil, checkVersionNewer},
		{must("unknown-version", specResult, "ADD in a version that the plugin does not support is refused."), nil, each(checkUnknownVersion)},
		{should("unknown-version-code", specError, "The error for a version that is not supported has code 1."), nil, each(checkUnknownVersionCode)},
		{should("unknown-version-clean", specError, "What is refused for its version has made nothing."), nil, each(checkUnknownVersionClean)},
		{open("check-before-0.4.0", "CNI 0.4.0, CHECK", "CHECK is refused in a version that does not have it."), nil, inOld("CHECK", "0.3.1")},
		{open("gc-before-1.1.0", specGC, "GC is refused in a version that does not have it."), nil, inOld("GC", "1.0.0")},
		{open("status-before-1.1.0", specSTATUS, "STATUS is refused in a version that does not have it."), nil, inOld("STATUS", "1.0.0")},
	}
}

func (h *host) askVersion(m member, c call) (answer, []string) {
	c.Verb = "VERSION"
	a := h.run(m, c)
	if err := a.err(); err != nil {
		h.Errorf("%s: VERSION: want success: %v", m.Type, a)
		return a, nil
	}
	var form struct {
		SupportedVersions []string `json:"supportedVersions"`
	}
	if err := json.Unmarshal([]byte(a.Stdout), &form); err != nil {
		h.Errorf("%s: VERSION: want one JSON object: %v: %v", m.Type, err, a)
	} else if len(form.SupportedVersions) == 0 {
		h.Errorf("%s: VERSION: want a list supportedVersions: %v", m.Type, a)
	}
	return a, form.SupportedVersions
}

func checkVersion(h *host) {
	number := regexp.MustCompile(`^\d+\.\d+\.\d+$`)
	for _, m := range h.network.Subjects {
		_, versions := h.askVersion(m, call{Path: h.path(), Stdin: []byte(`{"cniVersion":"1.1.0"}`)})
		for i, v := range versions {
			if !number.MatchString(v) || slices.Contains(versions[:i], v) {
				h.Errorf("%s: VERSION: want each version once and of three numbers, have %q", m.Type, versions)
				break
			}
		}
	}
}

// notForVersion are the variables that VERSION does without.
func notForVersion() []string {
	return []string{"CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH"}
}

func checkVersionBare(h *host) {
	for _, m := range h.network.Subjects {
		h.askVersion(m, call{Unset: notForVersion(), Stdin: []byte(`{"cniVersion":"1.1.0"}`)})
	}
}

func checkVersionNoInput(h *host) {
	for _, m := range h.network.Subjects {
		h.askVersion(m, call{Path: h.path()})
	}
}

func checkVersionEcho(h *host) {
	for _, m := range h.network.Subjects {
		for _, asked := range []string{"1.1.0", "1.0.0"} {
			if !slices.Contains(h.versions(m), asked) {
				continue
			}
			a := h.run(m, call{Verb: "VERSION", Path: h.path(), Stdin: []byte(`{"cniVersion":"` + asked + `"}`)})
			var form struct{ CNIVersion string }
			if err := json.Unmarshal([]byte(a.Stdout), &form); err != nil || form.CNIVersion != asked {
				h.Errorf("%s: VERSION asked in %s: want cniVersion %s, have %q: %v", m.Type, asked, asked, form.CNIVersion, a)
			}
		}
	}
}

func checkVersionNewer(h *host) {
	for _, m := range h.network.Subjects {
		h.askVersion(m, call{Path: h.path(), Stdin: []byte(`{"cniVersion":"99.0.0"}`)})
	}
}

// noVersion is of no specification that there will be soon.
const noVersion = "99.0.0"

func (t *trial) addInNoVersion() answer {
	return t.h.run(t.m, t.with("ADD", t.prev, func(o *wire.Object) { o.SetString("cniVersion", noVersion) }))
}

func checkUnknownVersion(t *trial) { t.refuses("ADD in version "+noVersion, t.addInNoVersion()) }

func checkUnknownVersionCode(t *trial) {
	t.code("ADD in version "+noVersion, t.addInNoVersion(), cni.CodeIncompatibleVersion)
}

func checkUnknownVersionClean(t *trial) {
	before := t.things()
	t.addInNoVersion()
	t.clean("ADD in version "+noVersion, before)
}

// inOld returns the check that the verb is refused in a version of before its time.
func inOld(verb, version string) func(h *host) {
	return each(func(t *trial) {
		if !slices.Contains(t.h.versions(t.m), version) {
			t.skip("%s does not speak version %s", t.m.Type, version)
		}
		old := func(o *wire.Object) { o.SetString("cniVersion", version) }
		c := t.of(verb, old)
		if verb == "CHECK" {
			t.add()
			c = t.with(verb, t.Raw, old)
		}
		a := t.h.run(t.m, c)
		if t.refuses(verb+" in version "+version, a) {
			t.code(verb+" in version "+version, a, cni.CodeIncompatibleVersion)
		}
	})
}
