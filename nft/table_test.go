package nft_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/nft"
)

// ruleset is what nft prints of everything, without the order in which chains and
// elements were made.
func ruleset(t testing.TB) string {
	t.Helper()
	blocks := strings.Split(run(t, "nft", "list", "ruleset"), "\n\n")
	slices.Sort(blocks)
	return strings.TrimSuffix(strings.Join(blocks, "\n\n"), "}\n")
}

// sameRuleset fails the test if what nft prints is not as it was.
func sameRuleset(t *testing.T, want string) {
	t.Helper()
	if diff := cmp.Diff(strings.Fields(want), strings.Fields(ruleset(t))); diff != "" {
		t.Errorf("nft list ruleset (-want +got):\n%s", diff)
	}
}

func web(port uint16, to string) nft.Forward {
	return nft.Forward{Protocol: nft.TCP, HostPort: port, To: netip.MustParseAddrPort(to)}
}

func recordFile(o nft.Owner) string {
	return filepath.Join("/run/seam/nft", o.Tag.Hash(32)+"-"+o.Plugin+".json")
}

func TestPutReplaces(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		table := open(t)
		o := owner("a")
		must(t, table.Put(owner("b"), web(9090, "10.1.0.3:80")))
		must(t, table.Put(o, webElements...))
		want := ruleset(t)
		other := []nft.Element{web(1, "10.1.0.2:1"), web(8080, "10.1.0.2:81"), nft.Masquerade{Source: addr("10.1.0.2")}}
		must(t, table.Put(o, other...))
		must(t, table.Check(o, other...))
		if got := ruleset(t); strings.Contains(got, "hairpin-") {
			t.Errorf("the chains of what was replaced are left:\n%s", got)
		}
		must(t, table.Put(o, webElements...))
		must(t, table.Put(o, webElements...))
		sameRuleset(t, want)
		must(t, table.Put(o)) // nothing is wanted any more
		must(t, table.Drop(owner("b"), nil))
		golden(t, "empty", "inet", "seam")
	})
}

func TestHostPortTaken(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		table := open(t)
		must(t, table.Put(owner("first"), web(8080, "10.1.0.2:80")))
		must(t, table.Put(owner("second"), web(1, "10.1.0.3:1")))
		want := ruleset(t)
		for _, o := range []nft.Owner{owner("second"), owner("third")} {
			err := table.Put(o, web(8081, "10.1.0.3:80"), web(8080, "10.1.0.3:80"))
			if got, want := cni.CodeOf(err), cni.CodeTryAgain; got != want {
				t.Fatalf("code %d, want %d: %v", got, want, err)
			}
			if want := "host port tcp/8080 is taken by net/first/eth0"; !strings.Contains(err.Error(), want) {
				t.Errorf("error %q lacks %q", err, want)
			}
			sameRuleset(t, want)
		}
		records, err := table.Owned(owner("second").Tag)
		must(t, err)
		if len(records) != 1 {
			t.Fatalf("records of the refused: %v, want one", records)
		}
		if got, want := fmt.Sprint(records[0].Elements), "[tcp dport 1 dnat to 10.1.0.3:1]"; got != want {
			t.Errorf("record of the refused: %s, want %s", got, want)
		}
		if _, err := os.Stat(recordFile(owner("third"))); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("record of the refused: %v", err)
		}

		// One address of the host is another port than all of them.
		special := web(8080, "10.1.0.3:80")
		special.HostIP = addr("192.0.2.1")
		must(t, table.Put(owner("third"), special))
		// A Put that was killed may leave a record that claims what is another's.
		must(t, os.WriteFile(recordFile(owner("third")), []byte(`{"tag":"net/third/eth0","plugin":"portmap","elements":[
			{"forward":{"protocol":"tcp","hostPort":8080,"to":"10.1.0.3:80"}},
			{"forward":{"protocol":"tcp","hostPort":8080,"hostIP":"192.0.2.1","to":"10.1.0.3:80"}}]}`), 0o600))
		must(t, table.Drop(owner("third"), nil))
		sameRuleset(t, want)
	})
}

func TestAddressTakenOver(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		table := open(t)
		must(t, table.Put(owner("x"), web(1, "10.1.0.9:1")))
		want := ruleset(t)
		masq := nft.Masquerade{Source: addr("10.1.0.2"), Except: prefixes("10.1.0.0/24")}
		must(t, table.Put(owner("old"), masq, nft.Hairpin{To: addr("10.1.0.2"), Sources: prefixes("10.1.0.0/24")}))
		fresh := []nft.Element{masq, nft.Hairpin{To: addr("10.1.0.2"), Sources: prefixes("10.0.0.0/8")}}
		must(t, table.Put(owner("fresh"), fresh...))
		must(t, table.Drop(owner("old"), nil))
		must(t, table.Check(owner("fresh"), fresh...))
		must(t, table.Put(owner("third"), masq)) // the very same element
		must(t, table.Drop(owner("fresh"), nil))
		must(t, table.Check(owner("third"), masq))
		must(t, table.Drop(owner("third"), nil))
		sameRuleset(t, want)
	})
}

// What a killed process left: the elements without their record, or the record
// without its elements.
func TestStale(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		table := open(t)
		must(t, table.Put(owner("x"), web(1, "10.1.0.9:1")))
		empty := ruleset(t)
		o := owner("a")
		must(t, table.Put(o, webElements...))
		want := ruleset(t)

		must(t, os.Remove(recordFile(o)))
		must(t, table.Put(o, webElements...))
		sameRuleset(t, want)

		run(t, "nft", "flush", "map", "inet", "seam", "hostports4")
		must(t, table.Put(owner("x"), web(1, "10.1.0.9:1")))
		must(t, table.Drop(o, nil))
		sameRuleset(t, empty)

		must(t, table.Put(o, webElements...))
		must(t, os.WriteFile(recordFile(o), []byte(`{"tag":`), 0o600))
		must(t, table.Drop(o, nil))
		sameRuleset(t, empty)

		must(t, table.Put(o, webElements...))
		must(t, os.WriteFile(recordFile(o), nil, 0o600))
		must(t, table.Put(o, webElements...))
		sameRuleset(t, want)
	})
}

func TestFlushed(t *testing.T) {
	flushes := []struct {
		name     string
		commands []string
		complain string
		put      bool // Put sees it too
	}{
		{"table deleted", []string{"delete table inet seam", "delete table bridge seam"}, "table inet seam is missing", true},
		{"table flushed", []string{"flush table inet seam", "flush table bridge seam"}, "chain prerouting: rules are missing or changed", true},
		{"ruleset flushed", []string{"flush ruleset"}, "table bridge seam is missing", true},
		{"chains flushed", []string{"flush chain inet seam postrouting", "flush chain inet seam hostports", "flush chain bridge seam prerouting"}, "chain postrouting: rules", true},
		{"input flushed", []string{"flush chain inet seam input"}, "chain input: rules", false},
		{"element deleted", []string{"delete element inet seam masq4 { 10.1.0.2 }"}, "ip saddr 10.1.0.2 masquerade, except to 10.1.0.0/24: map masq4 lacks it", false},
		{"elements flushed", []string{"flush set bridge seam allowed"}, `iifname "veth1234" ether saddr != 02:00:00:00:00:01 drop: map allowed lacks it`, false},
		{"rule added", []string{"add rule inet seam input drop"}, "chain input: rules", false},
	}
	netnstest.Host(t, func(t *testing.T) {
		table := open(t)
		a, b := owner("a"), owner("b")
		elements := slices.Concat(webElements, masqElements, []nft.Element{guard})
		must(t, table.Put(a, elements...))
		must(t, table.Put(b, web(9090, "10.1.0.3:80"), nft.Masquerade{Source: addr("10.1.0.3")}, nft.Guard{Link: "veth2", MAC: guard.MAC}))
		want := ruleset(t)
		for _, tt := range flushes {
			t.Run(tt.name, func(t *testing.T) {
				must(t, table.Check(a, elements...))
				damage(t, tt.commands)
				err := table.Check(a, elements...)
				if err == nil || !strings.Contains(err.Error(), tt.complain) || !strings.Contains(err.Error(), "seam check --repair") {
					t.Errorf("Check: %v, want %q and what to do", err, tt.complain)
				}
				must(t, table.Repair())
				sameRuleset(t, want)
				if !tt.put {
					return
				}
				damage(t, tt.commands)
				must(t, table.Put(a, elements...))
				sameRuleset(t, want)
			})
		}
	})
}

func damage(t *testing.T, commands []string) {
	t.Helper()
	for _, c := range commands {
		run(t, "nft", c)
	}
}

func TestRetain(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		table := open(t)
		live, dead, lost := owner("live"), owner("dead"), owner("lost")
		elsewhere := nft.Owner{Tag: cni.Attachment{Network: "net2", ContainerID: "dead", IfName: "eth0"}.Tag(), Plugin: "portmap"}
		must(t, table.Put(live, web(1, "10.1.0.1:1"), nft.Masquerade{Source: addr("10.1.0.1")}))
		must(t, table.Put(elsewhere, web(2, "10.2.0.1:1"), nft.Guard{Link: "veth2", MAC: guard.MAC}))
		want := ruleset(t)
		must(t, table.Put(dead, webElements...))
		must(t, table.Put(lost, append(masqElements, web(3, "10.1.0.3:1"), guard)...))
		must(t, os.Remove(recordFile(lost)))
		// A Drop that was killed leaves the record, or a chain that nothing leads to.
		run(t, "nft", "flush", "map", "inet", "seam", "masq6")

		dropped, err := table.Retain("portmap", "net", []cni.Tag{live.Tag}, nil)
		must(t, err)
		if len(dropped) != 1 || dropped[0].Owner != dead || len(dropped[0].Elements) != len(webElements) {
			t.Errorf("dropped %v", dropped)
		}
		sameRuleset(t, want)
		files, err := os.ReadDir("/run/seam/nft")
		must(t, err)
		if len(files) != 2 {
			t.Errorf("records: %v", files)
		}
		run(t, "nft", "flush", "ruleset")
		_, err = table.Retain("portmap", "net", nil, nil)
		must(t, err)
		must(t, os.RemoveAll("/run/seam/nft"))
		_, err = table.Retain("portmap", "net", nil, nil)
		must(t, err)
	})
}

func TestOwned(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		table := open(t)
		o := owner("a")
		must(t, table.Put(o, webElements...))
		o.Plugin = "bridge"
		must(t, table.Put(o, append(masqElements, guard)...))
		must(t, table.Put(owner("b"), web(1, "10.1.0.3:1")))
		list, err := table.Owned(o.Tag)
		must(t, err)
		want := []string{
			"net/a/eth0 bridge",
			"\tip saddr 10.1.0.2 masquerade, except to 10.1.0.0/24",
			"\tip6 saddr fd00:1::2 masquerade, except to fd00:1::/64",
			"\tiifname \"veth1234\" ether saddr != 02:00:00:00:00:01 drop",
			"net/a/eth0 portmap",
			"\ttcp dport 8080 dnat to 10.1.0.2:80",
			"\tip daddr 192.0.2.1 udp dport 53 dnat to 10.1.0.2:5353",
			"\tsctp dport 132 dnat to [fd00:1::2]:132",
			"\tip6 daddr 2001:db8::1 tcp dport 8080 dnat to [fd00:1::2]:80",
			"\tct status dnat ip saddr { 10.1.0.0/24, 127.0.0.0/8 } ip daddr 10.1.0.2 masquerade",
			"\tct status dnat ip6 saddr fd00:1::/64 ip6 daddr fd00:1::2 masquerade",
		}
		var got []string
		for _, rec := range list {
			got = append(got, strings.Split(rec.String(), "\n")...)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("owned (-want +got):\n%s", diff)
		}
	})
}

func TestInvalid(t *testing.T) {
	tests := []struct {
		element nft.Element
		want    string
	}{
		{nft.Masquerade{}, `masquerade: "invalid IP": not a plain address`},
		{nft.Masquerade{Source: addr("::ffff:10.0.0.1")}, "not a plain address"},
		{nft.Masquerade{Source: addr("10.0.0.1"), Except: make([]netip.Prefix, 1)}, "not a plain prefix"},
		{nft.Hairpin{To: addr("10.0.0.1"), Sources: prefixes("::ffff:10.0.0.0/104")}, "not a plain prefix"},
		{nft.Hairpin{To: addr("fe80::1%eth0")}, "not a plain address"},
		{nft.Forward{Protocol: "icmp", HostPort: 1, To: netip.MustParseAddrPort("10.0.0.1:1")}, `protocol "icmp": not tcp, udp or sctp`},
		{web(0, "10.0.0.1:80"), "port 0"},
		{web(80, "10.0.0.1:0"), "port 0"},
		{nft.Forward{Protocol: nft.UDP, HostPort: 1, HostIP: addr("::1"), To: netip.MustParseAddrPort("10.0.0.1:1")}, "two families"},
		{nft.Wall{}, "not a link's name"},
		{nft.Isolation{Link: strings.Repeat("x", 16)}, "not a link's name"},
		{nft.Guard{Link: "veth0"}, "6 bytes"},
		{nft.Guard{Link: strings.Repeat("x", 16), MAC: guard.MAC}, "not a link's name"},
	}
	netnstest.Host(t, func(t *testing.T) {
		table := open(t)
		for _, tt := range tests {
			err := table.Put(owner("a"), tt.element)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Put %v: error %v, want %q", tt.element, err, tt.want)
			}
		}
		if got := run(t, "nft", "list", "ruleset"); got != "" {
			t.Errorf("touched:\n%s", got)
		}
	})
}

func TestAvailable(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		must(t, open(t).Available())
		if got := run(t, "nft", "list", "ruleset"); got != "" {
			t.Errorf("touched:\n%s", got)
		}
	})
}

func TestConcurrent(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		churn(t)
		golden(t, "empty", "inet", "seam")
	})
}

// Someone deletes the table now and then, while what is in it comes and goes.
func TestConcurrentDeleted(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		stop, stopped := make(chan bool), make(chan bool)
		go func() {
			defer close(stopped)
			for {
				select {
				case <-stop:
					return
				case <-time.After(50 * time.Millisecond):
					exec.Command("nft", "delete table inet seam").Run()
				}
			}
		}()
		churn(t)
		close(stop)
		<-stopped
		table := open(t)
		must(t, table.Repair())
		_, err := table.Retain("portmap", "other", nil, nil) // chains of half a restoration
		must(t, err)
		golden(t, "empty", "inet", "seam")
	})
}

// churn has many attachments come and go at once, some with the same lists, by
// sockets of their own as processes have them. All are gone in the end.
func churn(t *testing.T) {
	t.Helper()
	const workers, rounds = 8, 40
	var group sync.WaitGroup
	for w := range workers {
		table := open(t)
		group.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(w)))
			for i := range rounds {
				o := owner(fmt.Sprintf("c%d-%d", w, i%3))
				ip := netip.AddrFrom4([4]byte{10, 1, byte(w), byte(i % 3)})
				err := table.Put(o,
					nft.Masquerade{Source: ip, Except: prefixes(fmt.Sprintf("10.%d.0.0/16", r.IntN(3)))},
					nft.Forward{Protocol: nft.TCP, HostPort: uint16(1000*(w+1) + i%3), To: netip.AddrPortFrom(ip, 80)},
					nft.Hairpin{To: ip, Sources: prefixes("10.1.0.0/16")})
				if err == nil && r.IntN(2) == 0 {
					err = table.Drop(o, nil)
				}
				if err != nil {
					t.Error(err)
				}
			}
			for i := range 3 {
				if err := table.Drop(owner(fmt.Sprintf("c%d-%d", w, i)), nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
}

func TestManyElements(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		table := open(t)
		var elements []nft.Element
		for port := uint16(10000); port < 13000; port++ {
			elements = append(elements, web(port, "10.1.0.2:80"))
		}
		must(t, table.Put(owner("a"), elements...))
		must(t, table.Check(owner("a"), elements...))
		must(t, table.Put(owner("a"), elements[:100]...))
		must(t, table.Drop(owner("a"), nil))
		golden(t, "empty", "inet", "seam")
	})
}

// TestDropThen: what must follow the elements is done again until it succeeds, be it by
// Drop or by Retain.
func TestDropThen(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		table := open(t)
		o := owner("web")
		forward := nft.Forward{Protocol: nft.TCP, HostPort: 80, To: netip.MustParseAddrPort("10.1.0.2:80")}
		must(t, table.Put(o, forward))
		calls, broken := 0, errors.New("not yet")
		then := func(elements []nft.Element) error {
			calls++
			if got, want := fmt.Sprint(elements), "[tcp dport 80 dnat to 10.1.0.2:80]"; got != want {
				t.Errorf("elements %s, want %s", got, want)
			}
			return broken
		}
		if err := table.Drop(o, then); !errors.Is(err, broken) {
			t.Errorf("drop: %v, want %v", err, broken)
		}
		if _, err := table.Retain(o.Plugin, "net", nil, then); !errors.Is(err, broken) {
			t.Errorf("retain: %v, want %v", err, broken)
		}
		broken = nil
		must(t, table.Drop(o, then))
		must(t, table.Drop(o, then))
		if calls != 3 {
			t.Errorf("%d calls, want 3: none once it succeeded", calls)
		}
	})
}
