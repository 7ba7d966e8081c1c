package hostlocal

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
)

// referencePlugins names a folder with the reference plugins, to compare with.
const referencePlugins = "SEAM_REFERENCE_PLUGINS"

// reference runs the reference plugin on the host's folder.
type reference struct{ file, dir string }

func newReference(t testing.TB, dir string) *reference {
	t.Helper()
	plugins := os.Getenv(referencePlugins)
	if plugins == "" {
		t.Skipf("%s is not set", referencePlugins)
	}
	return &reference{filepath.Join(plugins, "host-local"), dir}
}

func (p *reference) call(verb string, r *cni.Request) (*cni.Result, error) {
	var conf map[string]any
	if err := json.Unmarshal(r.Config.JSON, &conf); err != nil {
		return nil, err
	}
	conf["name"], conf["cniVersion"], conf["type"] = r.Network, r.Config.Version, "bridge"
	if ipam, ok := conf["ipam"].(map[string]any); ok {
		ipam["dataDir"] = p.dir
		ipam["type"] = "host-local"
	}
	stdin, err := json.Marshal(conf)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(p.file)
	cmd.Env = []string{
		"CNI_COMMAND=" + verb, "CNI_CONTAINERID=" + r.ContainerID, "CNI_IFNAME=" + r.IfName,
		"CNI_NETNS=/nonexistent", "CNI_PATH=/nonexistent", "CNI_ARGS=" + r.Args.String(),
	}
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("reference: %s", out)
	}
	if verb != "ADD" {
		return nil, nil
	}
	return wire.DecodeResult(out, r.Config.Version)
}

// TestLikeReference holds that both give the same answers to the same calls, one by
// one, and leave the same leases.
func TestLikeReference(t *testing.T) {
	for _, test := range []struct{ name, ipam string }{
		{"old form", `{"subnet": "10.1.0.0/29"}`},
		{"a range, another gateway", `{"subnet": "10.1.0.0/29", "rangeStart": "10.1.0.3", "rangeEnd": "10.1.0.6", "gateway": "10.1.0.4"}`},
		{"old form before sets", `{"subnet": "10.1.0.0/29", "ranges": [[{"subnet": "10.2.0.0/28"}]]}`},
		{"two ranges in a set", `{"ranges": [[{"subnet": "10.1.0.0/30"}, {"subnet": "10.2.0.0/30"}]]}`},
		{"both families, routes", `{"ranges": [[{"subnet": "10.1.0.0/29"}], [{"subnet": "fd00::/124"}]],
			"routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0", "gw": "fd00::1", "mtu": 1400, "priority": 3}]}`},
		{"IPv6", `{"subnet": "2001:DB8:0:0::/125", "rangeStart": "2001:db8::0:3"}`},
		{"large", `{"subnet": "10.0.0.0/8"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			ours, theirs := newHost(t), newHost(t)
			ref := newReference(t, theirs.dir)
			rnd := rand.New(rand.NewPCG(1, 2))
			live := map[string]bool{}
			for step := range 60 {
				r := request(fmt.Sprint("c", rnd.IntN(8)), test.ipam)
				if rnd.IntN(3) == 0 {
					ours.del(r)
					if _, err := ref.call("DEL", r); err != nil {
						t.Fatal(err)
					}
					delete(live, r.ContainerID)
					continue
				}
				// The reference gives who asks for an address a second one.
				if !live[r.ContainerID] && rnd.IntN(3) == 0 {
					r.Args = cni.Args{{Key: "IP", Value: fmt.Sprintf("10.1.0.%d", rnd.IntN(9))}}
				}
				got, err := ours.Add(t.Context(), r)
				want, refErr := ref.call("ADD", r)
				if (err == nil) != (refErr == nil) {
					t.Fatalf("step %d, %s %v: we say %v, the reference %v", step, r.ContainerID, r.Args, err, refErr)
				}
				if diff := cmp.Diff(want, got, netipValues, cmpopts.EquateEmpty()); diff != "" {
					t.Fatalf("step %d, %s %v (-reference +ours):\n%s", step, r.ContainerID, r.Args, diff)
				}
				if diff := cmp.Diff(theirs.leases(), ours.leases()); diff != "" {
					t.Fatalf("step %d, %s %v: leases (-reference +ours):\n%s", step, r.ContainerID, r.Args, diff)
				}
				if err != nil {
					copyCursors(t, theirs, ours) // the reference moves them before it fails
				}
				live[r.ContainerID] = live[r.ContainerID] || err == nil
			}
		})
	}
}

func copyCursors(t *testing.T, from, to *host) {
	t.Helper()
	for line := range strings.Lines(from.files()) {
		name, quoted, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !strings.HasPrefix(name, "last_reserved_ip.") {
			continue
		}
		content, err := strconv.Unquote(quoted)
		if err != nil {
			t.Fatal(err)
		}
		to.write(name, content)
	}
}

// TestRefusesLikeReference holds that what the reference refuses, we refuse.
func TestRefusesLikeReference(t *testing.T) {
	for _, ipam := range []string{
		`{}`,
		`{"gateway": "10.1.0.1"}`,
		`{"ranges": [[]]}`,
		`{"ranges": [[{}]]}`,
		`{"subnet": "10.1.0.1/29"}`,
		`{"subnet": "10.1.0.0/31"}`,
		`{"subnet": "fd00::/127"}`,
		`{"subnet": "10.1.0.0"}`,
		`{"subnet": "10.1.0.0/29", "rangeStart": "10.1.0.8"}`,
		`{"subnet": "10.1.0.0/29", "rangeEnd": "10.1.0.8"}`,
		`{"subnet": "10.1.0.0/29", "rangeStart": "10.1.0.5", "rangeEnd": "10.1.0.4"}`,
		`{"subnet": "10.1.0.0/29", "rangeStart": "10.1.0.05"}`,
		`{"subnet": "10.1.0.0/29", "gateway": "gw"}`,
		`{"ranges": [[{"subnet": "10.1.0.0/29"}, {"subnet": "10.1.0.0/28"}]]}`,
		`{"ranges": [[{"subnet": "10.1.0.0/29"}], [{"subnet": "10.1.0.0/28"}]]}`,
		`{"ranges": [[{"subnet": "10.1.0.0/29"}, {"subnet": "fd00::/125"}]]}`,
		`{"subnet": "10.1.0.0/29", "routes": [{"dst": "10.0.0.0"}]}`,
		`{"subnet": "10.1.0.0/29", "resolvConf": "/nonexistent"}`,
	} {
		h := newHost(t)
		ref := newReference(t, t.TempDir())
		if _, err := ref.call("ADD", request("c1", ipam)); err == nil {
			t.Errorf("%s: the reference takes it", ipam)
		}
		if _, err := h.Add(t.Context(), request("c1", ipam)); err == nil {
			t.Errorf("%s: we take it", ipam)
		}
	}
}

// TestBesideReference lets both work on one folder in turn.
func TestBesideReference(t *testing.T) {
	h := newHost(t)
	ref := newReference(t, h.dir)
	const ipam = `{"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/120"}]]}`
	rnd := rand.New(rand.NewPCG(3, 4))
	held := map[string][]string{}
	for step := range 200 {
		r := request(fmt.Sprint("c", rnd.IntN(20)), ipam)
		add, check, del, who := h.Add, h.Check, h.Del, "ours"
		if rnd.IntN(2) == 0 {
			who = "reference"
			add = func(_ context.Context, r *cni.Request) (*cni.Result, error) { return ref.call("ADD", r) }
			check = func(_ context.Context, r *cni.Request) error { _, err := ref.call("CHECK", r); return err }
			del = func(_ context.Context, r *cni.Request) error { _, err := ref.call("DEL", r); return err }
		}
		has := held[r.ContainerID]
		switch {
		case has != nil && rnd.IntN(2) == 0:
			if _, err := add(t.Context(), r); err == nil {
				t.Fatalf("step %d: %s adds %s again", step, who, r.ContainerID)
			}
			r.Prev = result(has[0]+"/24", has[1]+"/120")
			if err := check(t.Context(), r); err != nil {
				t.Fatalf("step %d: %s checks %s: %v", step, who, r.ContainerID, err)
			}
		case has != nil:
			if err := del(t.Context(), r); err != nil {
				t.Fatalf("step %d: %s deletes %s: %v", step, who, r.ContainerID, err)
			}
			delete(held, r.ContainerID)
		default:
			got, err := add(t.Context(), r)
			if err != nil {
				t.Fatalf("step %d: %s adds %s: %v", step, who, r.ContainerID, err)
			}
			held[r.ContainerID] = addresses(got)
		}
		var want []string
		for id, addrs := range held {
			for _, a := range addrs {
				want = append(want, fmt.Sprintf("%s %q\n", a, id+"\r\neth0"))
			}
		}
		if diff := cmp.Diff(strings.Join(sorted(want), ""), h.leases()); diff != "" {
			t.Fatalf("step %d, %s: leases (-want +got):\n%s", step, who, diff)
		}
	}
}
