package main

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/seamnet/seam/cni"
)

// pictured is a frame of three attachments, at a moment.
func pictured() *frame {
	at := time.Date(2026, 3, 1, 12, 30, 5, 0, time.UTC)
	line := func(id, name, state string, total, perSecond uint64) watched {
		w := watched{State: state}
		w.Attachment = cni.Attachment{Network: "blue", ContainerID: id, IfName: "eth0"}
		w.Name, w.Addresses, w.Total = name, []string{"10.5.0.2/24"}, traffic{ReceivedBytes: total, ReceivedPackets: 7, SentDropped: 1}
		if perSecond > 0 {
			w.PerSecond = &traffic{ReceivedBytes: perSecond, SentPackets: 3}
		}
		return w
	}
	f := &frame{Time: at, Attachments: []watched{
		line("0123456789abcdef0123456789abcdef", "web", attached, 1_234_567, 999_600),
		line("c2", "", missing, 0, 0), line("c3", "evil\x1b[2Jname", attached, 12, 1),
	}}
	n := watchedNetwork{networkLine: networkLine{Name: "blue", Plugins: []string{"bridge(host-local)", "portmap"}, Containers: 3}}
	n.measured = sum(f.Attachments, "blue")
	f.Networks = []watchedNetwork{n}
	return f
}

func TestPicture(t *testing.T) {
	tests := []struct {
		name string
		p    picture
		want []string
	}{
		{"whole", picture{}, []string{
			"12:30:05  1 network, 3 attachments  in 1.0MB/s  out 0B/s",
			"",
			"NETWORK  PLUGINS                       CONTAINERS  IN B/s  OUT B/s  IN p/s  OUT p/s  IN B  OUT B  IN p  OUT p  DROPS",
			"blue     bridge(host-local) → portmap           3    1.0M        0       0        6  1.2M      0    21      0      3",
			"",
			"CONTAINER     INTERFACE  NETWORK  ADDRESS      PORTS  IN B/s  OUT B/s  IN p/s  OUT p/s  IN B  OUT B  IN p  OUT p  DROPS  AGE  STATE",
			"web           eth0       blue     10.5.0.2/24  -        1.0M        0       0        3  1.2M      0     7      0      1    -  attached",
			"c2            eth0       blue     10.5.0.2/24  -           -        -       -        -     0      0     7      0      1    -  missing",
			"evil\uFFFD[2Jname  eth0       blue     10.5.0.2/24  -           1        0       0        3    12      0     7      0      1    -  attached",
		}},
		{"small", picture{head: "every 2s", width: 46, height: 8, colours: true}, []string{
			headStyle + "12:30:05  1 network, 3 attachments  in 1.0MB/…" + plain,
			"",
			headStyle + "NETWORK  CONTAINERS  IN B/s  OUT B/s  IN B" + plain,
			"blue              3    1.0M        0  1.2M",
			"",
			headStyle + "CONTAINER  IN B/s  OUT B/s  STATE" + plain,
			"web          1.0M        0  attached",
			faintStyle + "… 2 more; a larger window, seam ls --watch NE…" + plain,
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, test.p.draw(pictured())); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestPictureFits: whatever the window, no line is longer and there are no more of them.
func TestPictureFits(t *testing.T) {
	for width := 1; width < 180; width++ {
		for height := 1; height < 14; height++ {
			lines := picture{head: "every 2s, by name", width: width, height: height}.draw(pictured())
			if len(lines) > height {
				t.Fatalf("%d lines in %dx%d", len(lines), width, height)
			}
			for _, l := range lines {
				if utf8.RuneCountInString(l) > width {
					t.Fatalf("in %dx%d: %q", width, height, l)
				}
			}
		}
	}
	if text := strings.Join(picture{}.draw(pictured()), ""); strings.Contains(text, "\x1b") {
		t.Errorf("a name's control character: %q", text)
	}
}

func TestShort(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1.0k", 9949: "9.9k", 9951: "10k", 999_499: "999k", 999_500: "1.0M", 1<<64 - 1: "18E"} {
		if got := short(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
