package link_test

import (
	"testing"

	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns/netnstest"
)

// TestSupports: asking makes nothing.
func TestSupports(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h, err := link.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		before, err := h.List()
		if err != nil {
			t.Fatal(err)
		}
		for kind, want := range map[string]bool{"veth": true, "bridge": true, "macvlan": true, "nonesuch": false} {
			got, err := h.Supports(kind)
			if err != nil || got != want {
				t.Errorf("%s: %t, %v, want %t", kind, got, err, want)
			}
		}
		if after, err := h.List(); err != nil || len(after) != len(before) {
			t.Errorf("links: %v, %v, want %v", after, err, before)
		}
	})
}
