package plugins

import (
	"encoding/binary"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFootprintSince(t *testing.T) {
	before := footprint{"link a": "(veth)", "link b": "(veth)", "sysctl x": "0", "sysctl of/a": "1"}
	after := footprint{"link a": "(veth, up)", "link c": "", "sysctl x": "1", "sysctl of/c": "1"}
	want := []string{"changed: link a: (veth, up), was (veth)", "left: link c", "changed: sysctl x: 1, was 0"}
	if diff := cmp.Diff(want, after.since(before, false)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	want = append(want, "gone: link b (veth)")
	if diff := cmp.Diff(want, after.since(before, true)); diff != "" {
		t.Errorf("with what is gone (-want +got):\n%s", diff)
	}
}

func TestFootprintOfFirewall(t *testing.T) {
	f := make(footprint)
	f.putBlocks("nft", `table ip nat {
}
table inet seam {
	# Warning: not for you
	map ports {
		type inet_proto : verdict
		elements = { 6 . 80 comment "a, b" : goto one,
			     6 . 81 : goto two }
	}
	set none {
		elements = { 1 }
	}
	chain c {
		type nat hook output priority 0;
		counter accept
		counter accept
	}
}
`)
	f.putSaved("ip6tables-legacy-save", "# Generated\n*nat\n:OUTPUT ACCEPT [12:34]\n-A OUTPUT -j RETURN\nCOMMIT\n")
	want := footprint{
		"nft table ip nat":    "",
		"nft table inet seam": "", "nft table inet seam, map ports": "", "nft table inet seam, set none": "", "nft table inet seam, chain c": "",
		"nft table inet seam, map ports: type inet_proto : verdict":                "",
		`nft table inet seam, map ports: element 6 . 80 comment "a, b" : goto one`: "",
		"nft table inet seam, map ports: element 6 . 81 : goto two":                "",
		"nft table inet seam, set none: element 1":                                 "",
		"nft table inet seam, chain c: type nat hook output priority 0;":           "",
		"nft table inet seam, chain c: counter accept":                             "",
		"nft table inet seam, chain c: counter accept (2)":                         "",
		"ip6tables nat :OUTPUT ACCEPT":                                             "",
		"ip6tables nat -A OUTPUT -j RETURN":                                        "",
	}
	if diff := cmp.Diff(want, f); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseEntry(t *testing.T) {
	order := binary.NativeEndian
	data := make([]byte, 12, 28)
	order.PutUint32(data[4:], 7)
	order.PutUint16(data[8:], 0x80)
	data = order.AppendUint16(data, 10)
	data = order.AppendUint16(data, 2) // NDA_LLADDR
	data = append(data, 2, 0, 0, 0, 0, 9, 0, 0)
	got := parseEntry(data)
	if got.link != 7 || !got.permanent || got.mac.String() != "02:00:00:00:00:09" {
		t.Errorf("%+v", got)
	}
	for cut := range data[12:] { // whatever is cut off
		parseEntry(data[:12+cut])
	}
}

func TestNarrowed(t *testing.T) {
	tests := []struct{ name, ipam, want string }{
		{"of a subnet", `{"type":"host-local","subnet":"10.0.0.0/24","routes":[]}`,
			`{"ranges":[[{"subnet":"10.0.0.0/24","rangeStart":"10.0.0.2","rangeEnd":"10.0.0.4"}]],"routes":[],"type":"host-local"}`},
		{"of ranges", `{"ranges":[[{"subnet":"192.0.2.0/24","rangeStart":"192.0.2.100","rangeEnd":"192.0.2.199","gateway":"192.0.2.1"},{"subnet":"10.0.0.0/24"}],[{"subnet":"fd00::/64","gateway":"fd00::2"}]]}`,
			`{"ranges":[[{"subnet":"192.0.2.0/24","rangeStart":"192.0.2.100","rangeEnd":"192.0.2.102","gateway":"192.0.2.1"}],[{"subnet":"fd00::/64","rangeStart":"fd00::3","rangeEnd":"fd00::5","gateway":"fd00::2"}]]}`},
	}
	for _, test := range tests {
		got, err := narrowed(json.RawMessage(test.ipam), 3)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if diff := cmp.Diff(test.want, string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
	for _, bad := range []string{`{"subnet":"10.0.0.0/30"}`, `{"ranges":[[{"subnet":"10.0.0.0/24","rangeEnd":"10.0.0.9"}]]}`, `{"subnet":"10.0.0.0/24","rangeStart":"10.0.0.247"}`, `{"subnet":"x"}`, `{"ranges":[[{"subnet":"10.0.0.0/24","rangeStart":"x"}]]}`, `[]`} {
		if got, err := narrowed(json.RawMessage(bad), 9); err == nil {
			t.Errorf("%s: %s, want an error", bad, got)
		}
	}
}

func TestPrinted(t *testing.T) {
	var p printed
	for range 3 {
		if n, err := p.Write(make([]byte, mostPrinted/2+1)); n != mostPrinted/2+1 || err != nil {
			t.Errorf("wrote %d, %v", n, err)
		}
	}
	if len(p.String()) != mostPrinted {
		t.Errorf("%d bytes are kept, want %d", len(p.String()), mostPrinted)
	}
}

func TestExecuted(t *testing.T) {
	got := ReadExecve(`7 execve("/opt/bridge", ["bridge"], 0x1 /* 9 vars */) = 0
8 execve("/sbin/nft", ["nft"], 0x2 <unfinished ...>
9 execve("/usr/nowhere", ["x"], 0x2) = -1 ENOENT (No such file or directory)
8 <... execve resumed>) = 0
9 +++ exited with 0 +++
10 execve("/sbin/nft", ["nft"], 0x2) = 0
`)
	if diff := cmp.Diff([]string{"bridge", "nft", "nft"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for names, want := range map[int]string{0: "no program", 3: "3 programs: bridge 1×, nft 2×"} {
		if text := counted(got[:names]); text != want {
			t.Errorf("%q, want %q", text, want)
		}
	}
}

func TestQuantile(t *testing.T) {
	var hundred []time.Duration
	for n := range 100 {
		hundred = append(hundred, time.Duration(n+1))
	}
	for _, test := range []struct {
		sorted []time.Duration
		q      float64
		want   time.Duration
	}{{nil, 0.5, 0}, {hundred[:1], 0.99, 1}, {hundred, 0.5, 50}, {hundred, 0.99, 99}, {hundred, 1, 100}, {hundred[:3], 0.5, 2}} {
		if got := quantile(test.sorted, test.q); got != test.want {
			t.Errorf("quantile %v of %d: %d, want %d", test.q, len(test.sorted), got, test.want)
		}
	}
}
