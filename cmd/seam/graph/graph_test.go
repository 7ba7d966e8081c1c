package graph

import (
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// update writes what is drawn to the golden files: go test ./cmd/seam/graph -args -update.
var update = flag.Bool("update", false, "write golden files")

// one is a host with a single attachment.
func one() Topology {
	return Topology{
		Uplinks:  []Uplink{{Name: "eth0", Addresses: []string{"192.0.2.10/24"}}},
		Networks: []Network{{Name: "blue", Plugins: []string{"bridge(host-local)"}, Masters: []Master{bridge("blue0", "10.5.0.1/24", attachment("web", "10.5.0.2/24"))}}},
	}
}

// talk has one of everything, and things that are missing.
func talk() Topology {
	web := attachment("web", "10.1.0.2/16", "fd00:1::2/64")
	web.Ports = []Port{{Host: "8080", Container: "80/tcp"}, {Host: "192.0.2.10:8443", Container: "443/tcp"}}
	web.Others = []string{"eth1 on db"}
	api := attachment("api", "10.1.0.3/16", "fd00:1::3/64")
	api.Marks = []string{"in 10Mbit", "out 5Mbit"}
	api.Ports = []Port{{Host: "9000", Container: "9000/tcp", Missing: true}}
	worker := attachment("worker-7f9c-with-a-name-too-long", "10.1.0.4/16", "fd00:1:2222:3333:4444:5555:6666:4/64")
	worker.Cut, worker.HostEnd = true, "veth0a1b2c3d4e5"
	queue := attachment("queue", "10.1.0.5/16")
	queue.Addresses = append(queue.Addresses, Address{Text: "fd00:1::5/64", Missing: true})
	queue.Missing = []string{"route 0.0.0.0/0 via 10.1.0.1", "rate 1Mbit"}
	db1, db2, old := attachment("db1", "10.2.0.2/24"), attachment("web", "10.2.0.3/24"), attachment("db-old", "10.2.0.4/24")
	for _, a := range []*Attachment{&db1, &db2, &old} {
		a.Marks = []string{"isolated"}
	}
	db2.IfName, db2.Others, old.Gone, old.Cut = "eth1", []string{"eth0 on prod"}, true, true
	cache, camera := attachment("cache", "192.0.2.100/24"), attachment("camera", "192.0.2.101/24")
	cache.HostEnd, camera.HostEnd = "", ""
	edge := attachment("edge", "10.3.0.2/24")
	edge.Ports = []Port{{Host: "53", Container: "53/udp"}}
	lost := attachment("left", "10.4.0.2/24")
	lost.Cut = true
	lan := Master{Name: "eth1", Kind: "macvlan", Uplink: "eth1", Attachments: []Attachment{cache, camera}}
	return Topology{
		Host:    "node-1",
		Uplinks: []Uplink{{Name: "eth0", Addresses: []string{"192.0.2.10/24", "2001:db8::10/64"}}, {Name: "eth1", Addresses: []string{"198.51.100.7/24"}}},
		Networks: []Network{
			{Name: "prod", Plugins: []string{"bridge(host-local)", "portmap", "bandwidth"}, Masters: []Master{bridge("prod0", "10.1.0.1/16", web, api, worker, queue)}},
			{Name: "db", Plugins: []string{"bridge(host-local)", "firewall"}, Masters: []Master{bridge("db0", "10.2.0.1/24", db1, db2, old)}},
			{Name: "lan", Plugins: []string{"macvlan(dhcp)"}, Masters: []Master{lan}},
			{Name: "p2p", Plugins: []string{"ptp(host-local)", "portmap"}, Masters: []Master{{Kind: "ptp", Routed: true, Attachments: []Attachment{edge}}}},
			{Name: "gone", Plugins: []string{"bridge(host-local)"}, Masters: []Master{{Name: "gone0", Kind: "bridge", Missing: true, Attachments: []Attachment{lost}}}},
			{Name: "spare", Plugins: []string{"bridge(host-local)"}},
		},
	}
}

// many has n attachments, of which every fifth publishes a port.
func many(n int) Topology {
	t := one()
	m := &t.Networks[0].Masters[0]
	m.Attachments = nil
	for i := range n {
		a := attachment(fmt.Sprintf("web-%d", i), fmt.Sprintf("10.5.0.%d/24", i+2))
		if i%5 == 0 {
			a.Ports = []Port{{Host: fmt.Sprint(8000 + i), Container: "80/tcp"}}
		}
		m.Attachments = append(m.Attachments, a)
	}
	return t
}

func bridge(name, address string, attachments ...Attachment) Master {
	return Master{Name: name, Kind: "bridge", Addresses: []string{address}, Routed: true, Attachments: attachments}
}

func attachment(name string, addresses ...string) Attachment {
	a := Attachment{Container: name, ID: name + "-4f2a", IfName: "eth0", HostEnd: "veth" + fmt.Sprintf("%.6x", name)}
	for _, text := range addresses {
		a.Addresses = append(a.Addresses, Address{Text: text})
	}
	return a
}

// hostile has names that are markup, control characters and no UTF-8.
func hostile() Topology {
	t := one()
	bad := "</text><script>alert(1)</script>&\"'\x00\x1b]0;\xff"
	t.Host, t.Uplinks[0].Name, t.Networks[0].Name = bad, bad, bad
	m := &t.Networks[0].Masters[0]
	m.Name = bad
	m.Attachments[0] = Attachment{Container: bad, ID: bad, IfName: bad, HostEnd: bad, Marks: []string{bad}, Missing: []string{bad},
		Ports: []Port{{Host: bad, Container: bad}}, Addresses: []Address{{Text: bad}}}
	return t
}

func TestGolden(t *testing.T) {
	for name, topology := range map[string]Topology{"one": one(), "talk": talk()} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join("testdata", name+".svg")
			got := topology.SVG()
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("look at it, then -args -update (-want +got):\n%s", diff)
			}
		})
	}
}

// TestWellFormed: whatever names are, the picture is XML with no elements of theirs.
func TestWellFormed(t *testing.T) {
	known := map[string]bool{"svg": true, "title": true, "style": true, "defs": true, "marker": true, "path": true, "rect": true, "text": true, "g": true}
	for name, topology := range map[string]Topology{"empty": {}, "one": one(), "talk": talk(), "many": many(100), "hostile": hostile()} {
		d := xml.NewDecoder(strings.NewReader(topology.SVG()))
		for {
			token, err := d.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Errorf("%s: %v", name, err)
				break
			}
			if e, ok := token.(xml.StartElement); ok && !known[e.Name.Local] {
				t.Errorf("%s: element %s", name, e.Name.Local)
			}
		}
	}
}

// TestApart: no card lies on another, and all lie in the picture.
func TestApart(t *testing.T) {
	for name, topology := range map[string]Topology{"one": one(), "talk": talk(), "12": many(12), "100": many(100)} {
		d := layout(topology)
		cards := boxes(d.shapes, "card")
		want := 0
		for _, n := range topology.Networks {
			want += n.attachments()
		}
		if len(cards) != want {
			t.Errorf("%s: %d cards, want %d", name, len(cards), want)
		}
		for i, a := range cards {
			if a.x < 0 || a.y < 0 || a.x+a.w > d.width || a.y+a.h > d.height {
				t.Errorf("%s: card %d is outside", name, i)
			}
			for k, b := range cards[:i] {
				if a.x < b.x+b.w && b.x < a.x+a.w && a.y < b.y+b.h && b.y < a.y+a.h {
					t.Errorf("%s: cards %d and %d overlap", name, k, i)
				}
			}
		}
	}
}

// boxes returns those whose class begins with a word, in groups too.
func boxes(shapes []shape, class string) []box {
	var found []box
	for _, s := range shapes {
		switch s := s.(type) {
		case *group:
			found = append(found, boxes(s.shapes, class)...)
		case box:
			if strings.HasPrefix(s.class, class) {
				found = append(found, s)
			}
		}
	}
	return found
}
