package main

import (
	"bytes"
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/nft"
	"github.com/seamnet/seam/trail"
)

func TestMustBeOfOne(t *testing.T) {
	for addr, want := range map[string]bool{
		"192.0.2.1": true, "127.0.0.1": true, "::1": true, "2001:db8::1": true, "fd00::1": true, "169.254.169.254": true, "::ffff:169.254.20.10": true,
		"0.0.0.0": false, "::": false, "255.255.255.255": false, "224.0.0.1": false, "ff02::1": false, "fe80::1": false, "fe80::1%eth0": false,
	} {
		if err := mustBeOfOne(netip.MustParseAddr(addr)); err == nil != want {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

// A container can give its tables any name, and nft would obey some.
func TestNamesThatNftWouldObey(t *testing.T) {
	dir := t.TempDir()
	ran := filepath.Join(dir, "ran")
	if err := os.WriteFile(filepath.Join(dir, "nft"), []byte("#!/bin/sh\ntouch "+ran+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	f := &foreignRules{ctx: context.Background()}
	for _, name := range []string{"", "x; flush ruleset", "x y", "#", "-f", `a"b`, "a\nb", "*", "1a", "{"} {
		f.text(nft.Event{Family: "inet", Table: name, Chain: "c", Handle: 1}, nil)
		f.text(nft.Event{Family: "inet", Table: "t", Chain: name, Handle: 1}, nil)
		if _, err := os.Stat(ran); err == nil {
			t.Fatalf("nft was asked for %q", name)
		}
	}
	f.text(nft.Event{Family: "inet", Table: "KUBE-SVC_1.a/b", Chain: "c", Handle: 1}, nil)
	if _, err := os.Stat(ran); err != nil {
		t.Errorf("nft was not asked for a plain name: %v", err)
	}
}

func TestWayHasNothingThatTerminalsObey(t *testing.T) {
	const hostile = "a\x1b]0;b\u009bc"
	var out bytes.Buffer
	c := &cli{out: &out}
	rule := &trail.Rule{Family: "inet", Table: hostile, Chain: hostile, Handle: 1, Text: hostile}
	c.printWay(&seam.Record{Name: hostile}, &trail.Way{
		Steps: []trail.Step{{Where: trail.Container, Kind: "rule", Rule: rule}, {Where: trail.Container, Kind: "link", Text: hostile}},
		Hints: []string{hostile}, Notes: []string{hostile},
	})
	if strings.ContainsAny(out.String(), "\x1b\u009b") || !strings.Contains(out.String(), "]0;b") {
		t.Errorf("printed: %q", out.String())
	}
}
