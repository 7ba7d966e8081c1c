package main

import "testing"

// TestDerivedID holds cnitool's rule, or both would mean different attachments by the same
// words.
func TestDerivedID(t *testing.T) {
	const want = "cnitool-20b4ff582526573bbe7d" // printf /run/netns/c1 | sha512sum
	if got := derivedID("/run/netns/c1"); got != want {
		t.Errorf("ID %s, want %s", got, want)
	}
}
