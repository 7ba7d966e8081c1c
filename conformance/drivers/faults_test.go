package drivers

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/seamnet/seam/conformance"
)

// TestStrictDriver is of the driver that plugintest has: it keeps all in memory, knows one
// pool, and refuses to remove what it does not have.
func TestStrictDriver(t *testing.T) {
	t.Parallel()
	r := conform(t, broken(t, "none"), "(protocol|kernel|network)/.*|leaks/(endpoint|not-joined|network|files|descriptors)")
	wantFindings(t, r, map[string]conformance.Outcome{
		"protocol/gateway-allocation": conformance.Skipped, // not announced
		"protocol/deletes-idempotent": conformance.Differs,
		"protocol/driver-restart":     conformance.Lacking,
		"protocol/pools-apart":        conformance.Failed,
		"protocol/pools-others":       conformance.Lacking,
		"protocol/subpool-alone":      conformance.Lacking,
		"protocol/ipam-restart":       conformance.Failed,
		"protocol/address-usable":     conformance.Lacking,
		"kernel/second":               conformance.Lacking, // both networks have the same static route
		"network/outside":             conformance.Differs,
		"network/ports":               conformance.Differs,
	})
}

// TestFaults: what is wrong in a driver is found by the check that is for it.
func TestFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		fault string
		check string
		note  string // a part of what is said
	}{
		{"implements nothing", "protocol/activate", "want NetworkDriver or IpamDriver"},
		{"slow handshake", "protocol/activate-again", "it took 1.1"},
		{"scope of its own", "protocol/capabilities", "want local or global"},
		{"announces a method that it has not", "protocol/gateway-allocation", "no method"},
		{"no address space", "protocol/address-spaces", "is empty"},
		{"has any method", "protocol/unknown-method", "want status 404"},
		{"404 for what it does not know", "protocol/not-found", "want another status"},
		{"never refuses", "protocol/refusal", "want an error"},
		{"error of its own form", "protocol/error-form", "no text under the key Err"},
		{"status 200 for what it cannot read", "protocol/malformed", "want a status of 400"},
		{"ends when it cannot read", "protocol/malformed", "the driver has ended"},
		{"takes types lightly", "protocol/types", "want an error"},
		{"takes no body for a success", "protocol/empty-body", "want an error"},
		{"ends with a huge body", "protocol/huge-body", "the driver has ended"},
		{"reads one request at a time", "protocol/slow-request", "no answer"},
		{"takes words for truth values", "protocol/ipam-capabilities", "RequiresMACAddress"},
		{"forgets with a handshake", "protocol/engine-restart", "no such network"},
		{"one call on a connection", "protocol/connection", "malformed HTTP"},
		{"slow", "protocol/time", "Leave took 5."},
		{"an endpoint once", "protocol/broken-connection", "made again after it was deleted"},
		{"an address once", "kernel/again", "only once"},
		{"address goes with Leave", "protocol/no-leave", "is booked"},
		{"address goes with the link", "protocol/engine-killed", "is booked"},
		{"no IPv6", "kernel/ipv6", "no IPv6"},
		{"no IPv6", "network/ipv6", "no IPv6"},
		{"other end is down", "kernel/sandbox", "does not run"},
		{"other end is down", "kernel/sandbox-before-28", "does not run"},
		{"other end is narrow", "network/large", "a datagram of 1472 bytes"},
		{"room for three", "network/many", "from 10.99.0."},
		{"deletes all", "network/others", "after another endpoint had gone"},
		{"puts endpoints apart", "network/endpoints-before-28", "from 10.99.0."},
		{"puts endpoints apart", "network/host", "from the host"},
		{"MAC address of a group", "kernel/mac", "cannot assign"},
		{"leaves a link with each", "leaks/no-leave", "link xdo"},
		{"leaves a link with each", "leaks/engine-killed", "link xdo"},
		{"leaves a link with each", "leaks/concurrent", "link xdo"},
		{"never released", "protocol/pool-released", "were still in use"},
		{"forgets for what it has not", "protocol/pool-release-again", "was not released"},
		{"frees for what it has not", "protocol/address-release-again", "twice"},
		{"address is passed over", "protocol/address-asked", "asked for 10.99.0.3/24"},
		{"no type", "protocol/content-type", "text/plain"},
		{"answers what came filled", "protocol/interface", "an engine refuses"},
		{"MAC address of a group", "protocol/interface-chosen", "MacAddress"},
		{"names no link that is there", "kernel/link", "nobody0"},
		{"names no link that is there", "protocol/order", "nobody0"},
		{"gateway with a length", "protocol/join", "gateway"},
		{"gateway elsewhere", "kernel/gateway", "203.0.113.1"},
		{"route of no type", "protocol/join", "static route"},
		{"no value", "protocol/info", "Value is missing"},
		{"refuses news", "protocol/discovery", "DiscoverNew"},
		{"keeps endpoints", "kernel/deleted", "is still on the host"},
		{"keeps endpoints", "leaks/endpoint", "left over: link di"},
		{"keeps networks", "leaks/network", "left over: "},
		{"needs the sandbox at once", "protocol/order-before-28", "no such file"},
		{"deletes all", "protocol/deletes-again", "not deleted"},
		{"one at a time or not at all", "protocol/concurrent", "busy"},
		{"leaves a link with each", "leaks/not-joined", "link xdo"},
		{"leaves a file with each", "leaks/files", "left over: /run/conformance/driver/"},
		{"leaves a descriptor with each", "leaks/descriptors", "were open"},
		{"puts endpoints apart", "network/endpoints", "from 10.99.0."},
		{"ends its links with itself", "network/driver-killed", "when it was started again"},
		{"pool with an address", "protocol/pool", "nothing beyond its length"},
		{"another pool", "protocol/pool-asked", "asked for 10.97.1.0/24"},
		{"IDs that change", "protocol/pool-again", "at first, and then"},
		{"one address for all", "protocol/address", "twice"},
		{"address of one", "protocol/address", "/32"},
		{"gives what is asked for", "protocol/address-taken", "it gave"},
		{"gateway is not kept", "protocol/gateway", "a container got"},
		{"never released", "protocol/address-released", "requested again"},
		{"never released", "protocol/exhausted", "alone is free"},
		{"pool is released with one", "protocol/pool-again", "released once of twice, another"},
		{"ranges are passed over", "protocol/subpool", "asked for addresses of"},
		{"two get one at the same time", "protocol/address-concurrent", "twice"},
	}
	var group sync.WaitGroup
	slots := make(chan struct{}, 6) // more than processors, as most of them wait
	for _, tt := range tests {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			t.Run(tt.fault, func(t *testing.T) { wantFault(t, tt.fault, tt.check, tt.note) })
		})
	}
	group.Wait()
}

func wantFault(t *testing.T, fault, check, note string) {
	t.Helper()
	f := conform(t, broken(t, fault), check).Findings[0]
	if f.Outcome == conformance.Passed || f.Outcome == conformance.Skipped || f.Outcome == conformance.Broken {
		t.Errorf("%s: %s, want it not to be met: %q", f.ID, f.Outcome, f.Notes)
	}
	if notes := strings.Join(f.Notes, "\n"); !strings.Contains(notes, note) {
		t.Errorf("%s: the notes do not say %q:\n%s", f.ID, note, notes)
	}
}

// TestMoby is of Docker's own macvlan driver and its own IPAM driver. What is found is so:
// that IPAM driver keeps its pools in memory and gives a subnet once.
func TestMoby(t *testing.T) {
	folder := os.Getenv("SEAM_DOCKER_DRIVERS")
	if folder == "" {
		t.Skip("needs the driver of plugin/cnm/testdata/moby: set SEAM_DOCKER_DRIVERS to the folder where it was built, as make test does")
	}
	target := mobyTarget(filepath.Join(folder, "moby"))
	r := conform(t, target, "(protocol|kernel|network|leaks)/.*")
	wantFindings(t, r, map[string]conformance.Outcome{
		"protocol/gateway-allocation": conformance.Skipped,
		"protocol/deletes-idempotent": conformance.Differs,
		"protocol/pool-again":         conformance.Lacking,
		"protocol/pools-others":       conformance.Skipped, // it was made without any
		"protocol/ipam-restart":       conformance.Failed,
		"kernel/ipv6":                 conformance.Skipped,
		"kernel/second":               conformance.Skipped, // one network for each parent
		"network/ipv6":                conformance.Skipped,
		"network/host":                conformance.Differs, // as macvlan is
		"network/outside":             conformance.Differs,
		"network/ports":               conformance.Differs,
	}, "leaks/killed") // it may leave a link that it has made and not yet written down
}
