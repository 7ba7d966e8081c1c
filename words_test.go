package seam_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
)

// TestSay: lists, args and capabilities are added to; of the rest the last counts.
func TestSay(t *testing.T) {
	var w seam.Wishes
	for _, said := range [][2]string{
		{"ports", "8080:80"}, {"ports", " [::1]:53:53/udp,81:81"},
		{"ip", "10.1.0.7"}, {"ip", "fd00::7/64"},
		{"mac", "02:00:00:00:00:01"}, {"mac", "02:00:00:00:00:02"},
		{"bandwidth", "ingress=10M"}, {"bandwidth", "egress=20M"},
		{"args", "A=1"}, {"args", "B=2;C=3"},
		{"capabilities", `{"x": 1, "y": 2}`}, {"capabilities", `{"y": 3}`},
	} {
		if err := w.Say(said[0], said[1]); err != nil {
			t.Errorf("%s=%s: %v", said[0], said[1], err)
		}
	}
	want := seam.Wishes{
		Ports: []cni.PortMapping{
			{HostPort: 8080, ContainerPort: 80, Protocol: "tcp"},
			{HostPort: 53, ContainerPort: 53, Protocol: "udp", HostIP: "::1"},
			{HostPort: 81, ContainerPort: 81, Protocol: "tcp"},
		},
		IPs: []string{"10.1.0.7", "fd00::7/64"}, MAC: "02:00:00:00:00:02",
		Bandwidth:    cni.Bandwidth{EgressRate: 20e6, EgressBurst: 2e6},
		Args:         cni.Args{{Key: "A", Value: "1"}, {Key: "B", Value: "2"}, {Key: "C", Value: "3"}},
		Capabilities: map[string]json.RawMessage{"x": json.RawMessage(`1`), "y": json.RawMessage(`3`)},
	}
	if diff := cmp.Diff(want, w); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestWords holds that each word is known, and refuses what is no value of any.
func TestWords(t *testing.T) {
	if !slices.IsSorted(seam.Words()) {
		t.Errorf("%v: not sorted", seam.Words())
	}
	for _, word := range seam.Words() {
		err := new(seam.Wishes).Say(word, "?")
		if err == nil || strings.Contains(err.Error(), "unknown") {
			t.Errorf("%s: %v", word, err)
		}
	}
	if err := new(seam.Wishes).Say("port", "80:80"); err == nil || !strings.Contains(err.Error(), "unknown; known are args, bandwidth, ") {
		t.Error(err)
	}
}
