package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seamnet/seam/cni"
)

func TestParsePort(t *testing.T) {
	tests := []struct {
		in   string
		want cni.PortMapping
		err  string // part of it
	}{
		{"8080:80", cni.PortMapping{HostPort: 8080, ContainerPort: 80, Protocol: "tcp"}, ""},
		{"53:5353/UDP", cni.PortMapping{HostPort: 53, ContainerPort: 5353, Protocol: "udp"}, ""},
		{"127.0.0.1:1:65535/sctp", cni.PortMapping{HostPort: 1, ContainerPort: 65535, Protocol: "sctp", HostIP: "127.0.0.1"}, ""},
		{"[fd00::1]:8080:80", cni.PortMapping{HostPort: 8080, ContainerPort: 80, Protocol: "tcp", HostIP: "fd00::1"}, ""},
		{"[::1]:8080:80", cni.PortMapping{}, "sent to ::1"},
		{"[0:0:0:0:0:0:0:1]:8080:80", cni.PortMapping{}, "sent to ::1"},
		{"", cni.PortMapping{}, "only one port"},
		{"80", cni.PortMapping{}, "only one port"},
		{"0:80", cni.PortMapping{}, `port "0"`},
		{"80:65536", cni.PortMapping{}, `port "65536"`},
		{"80:-1", cni.PortMapping{}, `port "-1"`},
		{"80:", cni.PortMapping{}, `port ""`},
		{":80:80", cni.PortMapping{}, `host address ""`},
		{"host:80:80", cni.PortMapping{}, `host address "host"`},
		{"::1:80:80", cni.PortMapping{}, `host address "::1"`},
		{"[10.0.0.1]:80:80", cni.PortMapping{}, `host address "[10.0.0.1]"`},
		{"80:80/icmp", cni.PortMapping{}, `protocol "icmp"`},
	}
	for _, test := range tests {
		got, err := parsePort(test.in)
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("parsePort(%q): %v, want an error with %q", test.in, err, test.err)
			}
			continue
		}
		if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
			t.Errorf("parsePort(%q): %v (-want +got):\n%s", test.in, err, diff)
		}
	}
}

// What is parsed is printed again, and parsed again the same.
func FuzzParsePort(f *testing.F) {
	f.Add("[fd00::1]:8080:80/udp")
	f.Add("10.0.0.1:1:2")
	f.Fuzz(func(t *testing.T, s string) {
		m, err := parsePort(s)
		if err != nil {
			return
		}
		again, err := parsePort(portText(m))
		if m.HostIP == "0.0.0.0" || m.HostIP == "::" {
			m.HostIP = "" // the same, and printed shorter
		}
		if diff := cmp.Diff(m, again); diff != "" || err != nil {
			t.Errorf("%q, printed %q: %v (-first +second):\n%s", s, portText(m), err, diff)
		}
	})
}
