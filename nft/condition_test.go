package nft_test

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/nft"
)

// limited is a forward with conditions.
func limited(f nft.Forward, conditions ...nft.Condition) nft.Forward {
	f.Conditions = conditions
	return f
}

var (
	fromLAN = nft.Condition{Field: nft.Source, Prefixes: prefixes("10.0.0.0/8", "192.168.1.1/32")}
	notEth0 = nft.Condition{Field: nft.InInterface, Not: true, Names: []string{"eth0", "wan*"}}

	// Each kind of condition, both ways; one element a map, as nft's order of more is chance.
	limitedElements = []nft.Element{
		limited(web(8080, "10.1.0.2:80"), fromLAN, notEth0,
			nft.Condition{Field: nft.PacketMark, Mark: 0x10, Mask: 0xff},
			nft.Condition{Field: nft.PacketMark, Not: true, Mark: 7, Mask: 1<<32 - 1},
			nft.Condition{Field: nft.OutInterface, Names: []string{"lo"}}),
		limited(nft.Forward{Protocol: nft.UDP, HostIP: addr("192.0.2.1"), HostPort: 53, To: netip.MustParseAddrPort("10.1.0.2:53")},
			nft.Condition{Field: nft.SourceType, Not: true, Names: []string{"local", "broadcast"}},
			nft.Condition{Field: nft.DestinationType, Names: []string{"local"}},
			nft.Condition{Field: nft.PacketMark, Not: true, Mark: 0x10, Mask: 0x30},
			nft.Condition{Field: nft.PacketMark, Mark: 7, Mask: 1<<32 - 1},
			nft.Condition{Field: nft.Destination, Not: true, Prefixes: prefixes("192.0.2.0/24", "198.51.100.7/32")}),
		limited(web(8080, "[fd00:1::2]:80"), nft.Condition{Field: nft.Source, Not: true, Prefixes: prefixes("2001:db8::/33")}),
		limited(nft.Forward{Protocol: nft.TCP, HostIP: addr("2001:db8::1"), HostPort: 80, To: netip.MustParseAddrPort("[fd00:1::2]:80")},
			nft.Condition{Field: nft.Destination, Prefixes: prefixes("fe80::/10", "2001:db8::1/128")},
			nft.Condition{Field: nft.InInterface, Names: []string{"eth0", "wan*"}}),
	}
)

func TestConditionsText(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		table := open(t)
		must(t, table.Put(owner("web"), limitedElements...))
		must(t, table.Check(owner("web"), limitedElements...))
		golden(t, "limited", "inet", "seam")
		text, err := table.Text()
		must(t, err)
		if diff := cmp.Diff(run(t, "nft", "list", "ruleset"), text); diff != "" {
			t.Errorf("Text (-nft +got):\n%s", diff)
		}
		records, err := table.Owned(owner("web").Tag)
		must(t, err)
		want := []string{
			"net/web/eth0 portmap",
			`ip saddr { 10.0.0.0/8, 192.168.1.1 } iifname != { "eth0", "wan*" } meta mark & 0x000000ff == 0x00000010 ` +
				`meta mark != 0x00000007 oifname "lo" tcp dport 8080 dnat to 10.1.0.2:80`,
			`fib saddr type != { local, broadcast } fib daddr type local meta mark & 0x00000030 != 0x00000010 meta mark 0x00000007 ` +
				`ip daddr != { 192.0.2.0/24, 198.51.100.7 } ip daddr 192.0.2.1 udp dport 53 dnat to 10.1.0.2:53`,
			`ip6 saddr != 2001:db8::/33 tcp dport 8080 dnat to [fd00:1::2]:80`,
			`ip6 daddr { fe80::/10, 2001:db8::1 } iifname { "eth0", "wan*" } ip6 daddr 2001:db8::1 tcp dport 80 dnat to [fd00:1::2]:80`,
		}
		if diff := cmp.Diff(want, strings.Split(records[0].String(), "\n\t")); diff != "" {
			t.Errorf("owned (-want +got):\n%s", diff)
		}
		must(t, table.Drop(owner("web"), nil))
		golden(t, "empty", "inet", "seam")
	})
}

// TestConditionsShared: a chain is for all who have the same conditions, and goes with the
// last of them; a port has one owner, with or without conditions.
func TestConditionsShared(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		table := open(t)
		chains := func(want int) {
			t.Helper()
			if got := strings.Count(run(t, "nft", "list", "table", "inet", "seam"), "chain when-"); got != want {
				t.Errorf("%d chains of conditions, want %d", got, want)
			}
		}
		special := limited(web(8080, "10.1.0.3:80"), fromLAN, notEth0)
		special.HostIP = addr("192.0.2.1")
		must(t, table.Put(owner("a"), limited(web(8080, "10.1.0.2:80"), fromLAN, notEth0)))
		must(t, table.Put(owner("b"), limited(web(9090, "10.1.0.3:80"), fromLAN, notEth0)))
		chains(1)
		must(t, table.Put(owner("b"), limited(web(9090, "10.1.0.3:80"), fromLAN), special))
		chains(3)
		want := ruleset(t)
		for _, e := range []nft.Element{web(8080, "10.1.0.4:80"), limited(web(8080, "10.1.0.4:80"), notEth0)} {
			err := table.Put(owner("c"), e)
			if cni.CodeOf(err) != cni.CodeTryAgain || !strings.Contains(err.Error(), "host port tcp/8080 is taken by net/a/eth0") {
				t.Errorf("%s: %v, want that it is taken", e, err)
			}
			sameRuleset(t, want)
		}

		// Conditions come and go with what wants them.
		must(t, table.Put(owner("b"), web(9090, "10.1.0.3:80")))
		must(t, table.Check(owner("b"), web(9090, "10.1.0.3:80")))
		chains(1)
		err := table.Put(owner("c"), limited(web(9090, "10.1.0.4:80"), fromLAN))
		if cni.CodeOf(err) != cni.CodeTryAgain {
			t.Errorf("with conditions over one without: %v", err)
		}
		must(t, table.Put(owner("a"), web(8080, "10.1.0.2:80")))
		chains(0)
		must(t, table.Put(owner("a"), limitedElements...))
		must(t, table.Drop(owner("b"), nil))
		must(t, table.Drop(owner("a"), nil))
		golden(t, "empty", "inet", "seam")
	})
}

func TestConditionsFlushed(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		table := open(t)
		o, e := owner("a"), limited(web(8080, "10.1.0.2:80"), fromLAN)
		special := e
		special.HostIP = addr("192.0.2.1")
		elements := []nft.Element{e, special}
		must(t, table.Put(o, elements...))
		want := ruleset(t)
		when := "when-" + strings.SplitN(strings.SplitN(want, "goto when-", 3)[2], " ", 2)[0]
		for _, tt := range []struct {
			damage, complain string
			put              bool // Put sees it too
		}{
			{"delete element inet seam limitedports4 { tcp . 8080 }", "map limitedports4 lacks it", false},
			{"flush map inet seam limitedips4", "map limitedips4 lacks it", false},
			{"flush map inet seam hostports4", "map hostports4 lacks it", false},
			{"flush chain inet seam " + when, "chain " + when + ": rules are missing or changed", false},
			{"flush chain inet seam hostips", "chain hostips: rules are missing or changed", true},
			{"flush chain inet seam hostports", "chain hostports: rules are missing or changed", true},
			{"delete table inet seam", "table inet seam is missing", true},
		} {
			run(t, "nft", tt.damage)
			if err := table.Check(o, elements...); err == nil || !strings.Contains(err.Error(), tt.complain) {
				t.Errorf("%s: Check: %v, want %q", tt.damage, err, tt.complain)
			}
			must(t, table.Repair())
			sameRuleset(t, want)
			if tt.put {
				run(t, "nft", tt.damage)
				must(t, table.Put(o, elements...))
				sameRuleset(t, want)
			}
		}
	})
}

func TestConditionsRetained(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		table := open(t)
		live := limited(web(8080, "10.1.0.2:80"), fromLAN)
		must(t, table.Put(owner("live"), live))
		want := ruleset(t)
		must(t, table.Put(owner("dead"), limited(web(9090, "10.1.0.3:80"), fromLAN), limited(web(9091, "10.1.0.3:80"), notEth0)))
		must(t, table.Put(owner("lost"), limited(web(9092, "10.1.0.4:80"), fromLAN), limited(web(9093, "10.1.0.4:80"), fromLAN, notEth0)))
		must(t, os.Remove(recordFile(owner("lost"))))
		_, err := table.Retain("portmap", "net", []cni.Tag{owner("live").Tag}, nil)
		must(t, err)
		sameRuleset(t, want)
		must(t, table.Check(owner("live"), live))
	})
}

func TestConditionsInvalid(t *testing.T) {
	many := nft.Condition{Field: nft.Source}
	for i := range 33 {
		many.Prefixes = append(many.Prefixes, netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/16", i)))
	}
	tests := []struct {
		c    nft.Condition
		want string
	}{
		{nft.Condition{}, `condition on ""`},
		{nft.Condition{Field: "ttl", Names: []string{"1"}}, `condition on "ttl"`},
		{nft.Condition{Field: nft.Source}, "not values of that field alone"},
		{nft.Condition{Field: nft.Source, Names: []string{"eth0"}}, "not values of that field alone"},
		{nft.Condition{Field: nft.InInterface, Names: []string{"eth0"}, Mask: 1}, "not values of that field alone"},
		{nft.Condition{Field: nft.PacketMark}, "not values of that field alone"},
		{nft.Condition{Field: nft.PacketMark, Mark: 1}, "not values of that field alone"},
		{nft.Condition{Field: nft.PacketMark, Mark: 3, Mask: 1}, "bits outside of mask"},
		{nft.Condition{Field: nft.Source, Prefixes: prefixes("fd00::/8")}, "not a prefix of ip"},
		{nft.Condition{Field: nft.Source, Prefixes: prefixes("10.0.0.1/8")}, "not a prefix of ip"},
		{nft.Condition{Field: nft.Source, Prefixes: prefixes("0.0.0.0/0")}, "not a prefix of ip"},
		{nft.Condition{Field: nft.Source, Prefixes: make([]netip.Prefix, 1)}, "not a prefix of ip"},
		{many, "33 values are too many"},
		{nft.Condition{Field: nft.SourceType, Names: []string{"eth0"}}, "not a type of address"},
		{nft.Condition{Field: nft.InInterface, Names: []string{"*"}}, "not an interface's name"},
		{nft.Condition{Field: nft.InInterface, Names: []string{""}}, "not an interface's name"},
		{nft.Condition{Field: nft.OutInterface, Names: []string{strings.Repeat("x", 16)}}, "not an interface's name"},
		{nft.Condition{Field: nft.InInterface, Names: []string{`eth"0`}}, "not an interface's name"},
		{nft.Condition{Field: nft.InInterface, Names: []string{"e*h"}}, "not an interface's name"},
	}
	netnstest.Host(t, func(t *testing.T) {
		table := open(t)
		for _, tt := range tests {
			err := table.Put(owner("a"), limited(web(80, "10.0.0.1:80"), tt.c))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Put %+v: error %v, want %q", tt.c, err, tt.want)
			}
		}
		most := many
		most.Prefixes = many.Prefixes[:32]
		must(t, table.Put(owner("a"), limited(web(80, "10.0.0.1:80"), most)))
	})
}
