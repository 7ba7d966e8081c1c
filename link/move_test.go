package link_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns/netnstest"
)

// TestMove: in one message, with name and alias; and what becomes of a link whose name is
// taken, which is the kernel's doing.
func TestMove(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h, pod := both(t)
		for _, c := range []struct {
			name  string
			there []string // links of the other namespace
			want  string   // what the link is called there then
			err   error
		}{
			{"name free", nil, "eth0", nil},
			{"old name taken", []string{"ens5"}, "eth0", nil},
			{"name taken", []string{"eth0"}, "ens5", fs.ErrExist},
			{"both taken", []string{"eth0", "ens5"}, "", fs.ErrExist},
		} {
			for _, name := range c.there {
				if err := pod.AddVeth(link.Veth{Name: name, PeerName: "p" + name}); err != nil {
					t.Fatal(err)
				}
			}
			if err := h.AddVeth(link.Veth{Name: "ens5", PeerName: "wire", MTU: 1400}); err != nil {
				t.Fatal(err)
			}
			l, err := h.ByName("ens5")
			if err != nil {
				t.Fatal(err)
			}
			if err := h.Move(l, link.Move{To: pod, Name: "eth0", Alias: "ens5"}); !errors.Is(err, c.err) {
				t.Errorf("%s: %v, want %v", c.name, err, c.err)
			}
			got := ""
			for _, name := range []string{"eth0", "ens5"} {
				if l, err := pod.ByName(name); err == nil && l.MTU == 1400 {
					got = name
				}
			}
			if _, err := h.ByName("ens5"); link.Missing(err) == (c.want == "") || got != c.want {
				t.Errorf("%s: it is called %q there, want %q; still here: %v", c.name, got, c.want, err)
			}
			if l, err := pod.ByName("eth0"); c.err == nil && (err != nil || l.Alias != "ens5") {
				t.Errorf("%s: alias %q, %v", c.name, l.Alias, err)
			}
			for _, name := range append(c.there, "wire") {
				_ = pod.Delete(name)
				_ = h.Delete(name)
			}
		}
	})
}

func both(t *testing.T) (h, pod *link.Handle) {
	t.Helper()
	h, err := link.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	if pod, err = link.In(netnstest.NewPod(t, "pod1").NS); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pod.Close() })
	return h, pod
}

// TestSaveAddrs: this link's alone, none that go by themselves, and put back as they were.
func TestSaveAddrs(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		h, _ := both(t)
		for _, args := range []string{
			"link add left type veth peer name right", "link set left up", "link set right up",
			"addr add 192.0.2.1/24 brd + dev left", "addr add 192.0.2.2/24 dev left label left:x", "addr add 192.0.2.9 peer 198.51.100.9 dev left metric 7",
			"addr add 2001:db8::1/64 nodad noprefixroute dev left",
			"addr add 192.0.2.3/24 dev left valid_lft 600 preferred_lft 600", "addr add 203.0.113.1/24 dev right",
		} {
			ip(t, nil, strings.Fields(args)...)
		}
		l, err := h.ByName("left")
		if err != nil {
			t.Fatal(err)
		}
		saved, err := h.SaveAddrs(l)
		if err != nil {
			t.Fatal(err)
		}
		ip(t, nil, "addr", "del", "192.0.2.3/24", "dev", "left")
		before := ip(t, nil, "addr", "show", "left", "scope", "global")
		ip(t, nil, "addr", "flush", "dev", "left", "scope", "global")
		for _, a := range saved {
			if err := h.RestoreAddr(l, a); err != nil {
				t.Error(err)
			}
			if err := h.RestoreAddr(l, a); !errors.Is(err, fs.ErrExist) {
				t.Errorf("twice: %v", err)
			}
		}
		if diff := cmp.Diff(before, ip(t, nil, "addr", "show", "left", "scope", "global")); diff != "" {
			t.Errorf("(-before +after):\n%s", diff)
		}
	})
}
