package demo

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDraw(t *testing.T) {
	got := draw(scene{
		networks: []drawnNetwork{
			{"demo0 · 10.0.0.1/24", []drawnPod{
				{"web", "veth1", []string{"eth0 10.0.0.2", "port 80 ◂ 8080"}},
				{"db", "veth2", []string{"eth0 10.0.0.3"}},
			}},
			{"a bridge with a long name", []drawnPod{{"job", "v", []string{"x"}}}},
		},
		uplink:    "uplink 192.0.2.1/24",
		neighbour: "neighbour 192.0.2.2/24",
	})
	const want = `
┌─ this host ──────────────────────────┐
│ ┌─ demo0 · 10.0.0.1/24 ────────────┐ │
│ └─┬──────────────────┬─────────────┘ │
│   │ veth1            │ veth2         │
│ ┌─ web ──────────┐ ┌─ db ──────────┐ │
│ │ eth0 10.0.0.2  │ │ eth0 10.0.0.3 │ │
│ │ port 80 ◂ 8080 │ └───────────────┘ │
│ └────────────────┘                   │
│ ┌─ a bridge with a long name ┐       │
│ └─┬──────────────────────────┘       │
│   │ v                                │
│ ┌─ job ┐                             │
│ │ x    │                             │
│ └──────┘                             │
│                                      │
│ uplink 192.0.2.1/24                  │
└──┬───────────────────────────────────┘
   │
┌─ neighbour 192.0.2.2/24 ┐
└─────────────────────────┘
`
	if diff := cmp.Diff(want, "\n"+got); diff != "" {
		t.Errorf("picture (-want +got):\n%s", diff)
	}
}
