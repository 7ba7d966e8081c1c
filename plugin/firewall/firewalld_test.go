package firewall_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/firewall"
	"github.com/seamnet/seam/plugin/plugintest"
)

// start runs a daemon until the test ends, and waits until ready is.
func start(t *testing.T, ready func() bool, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Skipf("%s cannot be started here: %v", name, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	for limit := time.Now().Add(20 * time.Second); !ready(); time.Sleep(20 * time.Millisecond) {
		select {
		case err := <-ended:
			ended <- err
			t.Skipf("%s does not run here: %v\n%s", name, err, &said)
		default:
		}
		if time.Now().After(limit) {
			_ = cmd.Process.Kill()
			t.Skipf("%s does not get ready here:\n%s", name, &said)
		}
	}
}

// startFirewalld runs firewalld on a system bus of the test's own.
func startFirewalld(t *testing.T) {
	t.Helper()
	must(t, os.MkdirAll("/run/dbus", 0o755))
	start(t, func() bool {
		_, err := os.Stat("/run/dbus/system_bus_socket")
		return err == nil
	}, "dbus-daemon", "--system", "--nofork", "--nopidfile")
	start(t, func() bool {
		_, err := plugintest.Try(nil, "dbus-send", zoneCall("getSources", "trusted")...)
		return err == nil
	}, "firewalld", "--nofork", "--nopid")
}

// zoneCall are the arguments of dbus-send that call firewalld about a zone.
func zoneCall(method, zone string, source ...string) []string {
	args := []string{"--system", "--print-reply", "--dest=org.fedoraproject.FirewallD1", "/org/fedoraproject/FirewallD1",
		"org.fedoraproject.FirewallD1.zone." + method, "string:" + zone}
	for _, s := range source {
		args = append(args, "string:"+s)
	}
	return args
}

var quoted = regexp.MustCompile(`"[^"]+"`)

func sources(t testing.TB, zone string) string {
	t.Helper()
	found := quoted.FindAllString(plugintest.Run(t, nil, "dbus-send", zoneCall("getSources", zone)...), -1)
	return strings.ReplaceAll(strings.Join(found, " "), `"`, "")
}

func TestFirewalld(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		startFirewalld(t)
		h := plugintest.Host(t)
		p := newOn(h)
		attach := func(keys string, n int) *cni.Request {
			t.Helper()
			r := request(t, keys, fmt.Sprint("c", n), result("bra", fmt.Sprint("v", n), "/x", fmt.Sprintf("10.1.0.%d/24", n), fmt.Sprintf("fd00:1::%d/64", n)))
			must(t, second(p.Add(ctx, r)))
			must(t, p.Check(ctx, r))
			return r
		}
		expect := func(when, zone, want string) {
			t.Helper()
			if got := sources(t, zone); got != want {
				t.Errorf("%s: zone %s has sources %q, want %q", when, zone, got, want)
			}
		}
		two := attach("", 2) // found on the bus
		must(t, p.Status(ctx, two))
		expect("ADD", "trusted", "10.1.0.2/32 fd00:1::2/128")
		three := attach(`,"backend":"firewalld","firewalldZone":"internal","ingressPolicy":"isolated"`, 3)
		expect("ADD", "internal", "10.1.0.3/32 fd00:1::3/128")
		if got := plugintest.Run(t, nil, "nft", "list", "table", "inet", "seam"); !strings.Contains(got, `elements = { "bra" `) {
			t.Errorf("the bridge has no wall:\n%s", got)
		}
		must(t, p.Del(ctx, request(t, `,"firewalldZone":7`, "c3", nil)))
		must(t, p.Del(ctx, request(t, "", "c3", nil)))
		expect("DEL", "internal", "")

		// Beside the walls that the reference made, those of iptables are gone on with.
		plugintest.Run(t, nil, "iptables", "-N", "CNI-ISOLATION-STAGE-1")
		walled := attach(`,"ingressPolicy":"same-bridge"`, 9)
		if got := plugintest.Run(t, nil, "iptables", "-S"); !strings.Contains(got, "-A CNI-ISOLATION-STAGE-2 -o bra ") || strings.Contains(got, "10.1.0.9") {
			t.Errorf("the bridge has no wall in iptables, or the address has rules there:\n%s", got)
		}
		must(t, p.Del(ctx, request(t, "", "c9", nil)))
		if got := plugintest.Run(t, nil, "iptables", "-S"); strings.Contains(got, "bra") {
			t.Errorf("the wall is left:\n%s", got)
		}
		if err := p.Check(ctx, walled); err == nil {
			t.Error("CHECK finds nothing after DEL")
		}

		// A reload forgets what was not made permanent.
		plugintest.Run(t, nil, "dbus-send", zoneCall("removeSource", "trusted", "10.1.0.2/32")...)
		if err := p.Check(ctx, two); err == nil || !strings.Contains(err.Error(), "zone trusted lacks source 10.1.0.2") {
			t.Errorf("CHECK: %v", err)
		}
		must(t, firewall.Repair(ctx, h))
		must(t, p.Check(ctx, two))

		plugintest.Run(t, nil, "dbus-send", zoneCall("removeSource", "trusted", "10.1.0.2/32")...)
		plugintest.Run(t, nil, "dbus-send", zoneCall("addSource", "public", "10.1.0.2/32")...)
		gc := request(t, "", "", nil)
		gc.Attachment = cni.Attachment{Network: "net"}
		must(t, p.GC(ctx, gc))
		expect("GC without a list", "trusted", "fd00:1::2/128")
		gc.Valid = []cni.Attachment{}
		must(t, p.GC(ctx, gc))
		expect("GC", "trusted", "")
		expect("GC", "public", "10.1.0.2/32") // the administrator's

		if err := second(p.Add(ctx, request(t, `,"firewalldZone":"nowhere"`, "c4", two.Prev))); err == nil || !strings.Contains(err.Error(), "INVALID_ZONE") {
			t.Errorf("ADD in a zone that is not there: %v", err)
		}
		must(t, p.Del(ctx, request(t, "", "c4", nil)))
		migrate(t, p, three)
	})
}

// migrate lets each side remove what the other made.
func migrate(t *testing.T, p cni.Plugin, r *cni.Request) {
	t.Helper()
	ref := theReference(t)
	if ref == nil {
		return
	}
	r.Config.JSON = []byte(`{"cniVersion":"1.0.0","name":"net","type":"firewall"}`)
	for _, way := range [][2]implementation{{ref, p}, {p, ref}} {
		must(t, second(way[0].Add(ctx, r)))
		must(t, way[1].Check(ctx, r))
		must(t, way[1].Del(ctx, r))
		if got := sources(t, "trusted"); got != "" {
			t.Errorf("%T left what %T made: %s", way[1], way[0], got)
		}
		must(t, p.Del(ctx, r))
	}
}

func TestFirewalldNotRunning(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		p := seam(t)
		r := request(t, `,"backend":"firewalld"`, "c", result("bra", "v", "/x", "10.1.0.2/24"))
		if err := second(p.Add(ctx, r)); err == nil || !strings.Contains(err.Error(), "firewalld does not run") {
			t.Errorf("ADD: %v", err)
		}
		if err := p.Status(ctx, r); cni.CodeOf(err) != cni.CodeNotAvailable {
			t.Errorf("STATUS: %v", err)
		}
		must(t, p.Del(ctx, r))
		must(t, p.Del(ctx, r))
	})
}
