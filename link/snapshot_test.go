package link_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/netns"
	"github.com/seamnet/seam/netns/netnstest"
)

// slow skips a test that reads all settings of namespaces, many times.
func slow(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes where system calls are emulated")
	}
}

// script runs lines such as "ip link set eth0 up" and "sysctl PATH=VALUE" inside.
func script(t *testing.T, pod *netnstest.Pod, lines string) {
	t.Helper()
	for line := range strings.Lines(lines) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		err := pod.NS.Do(func() error {
			if words[0] == "sysctl" {
				path, value, _ := strings.Cut(strings.Join(words[1:], " "), "=")
				return os.WriteFile("/proc/sys/net/"+path, []byte(value), 0)
			}
			out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w\n%s", err, out)
			}
			return nil
		})
		if err != nil {
			t.Fatalf("%s: %v", strings.TrimSpace(line), err)
		}
	}
}

var (
	numbered = regexp.MustCompile(`(?m)^[0-9]+: `)
	overWhat = regexp.MustCompile(`@[a-z0-9]+:|link-netns(id)? \S+ ?|iif \S+ `)
	timers   = regexp.MustCompile(`[a-z_]+_timer +[0-9.]+ ?`)
	actionNo = regexp.MustCompile(`index [0-9]+ ref`)
	counted  = regexp.MustCompile(`(?m)^ (Sent|backlog|rate|lended|tokens|deadline|throttled|flows|gc) .*\n|direct_packets_stat [0-9]+|expires [0-9]+sec`)
)

// stateOf is what a namespace has, as ip(8), tc(8) and sysctl(8) say it, but for what
// another namespace's would have to differ in.
func stateOf(t *testing.T, pod *netnstest.Pod) string {
	t.Helper()
	var b bytes.Buffer
	run := func(words ...string) {
		var out []byte
		err := pod.NS.Do(func() (err error) {
			out, err = exec.Command(words[0], words[1:]...).CombinedOutput()
			return err
		})
		if err != nil {
			t.Fatalf("%v: %v\n%s", words, err, out)
		}
		text := counted.ReplaceAllString(overWhat.ReplaceAllString(numbered.ReplaceAllString(string(out), ""), ""), "")
		text = timers.ReplaceAllString(actionNo.ReplaceAllString(text, "index N ref"), "")
		lines := strings.Split(strings.TrimSpace(text), "\n")
		if words[0] == "ip" && !strings.Contains(strings.Join(words, " "), "addr") {
			slices.Sort(lines)
		}
		for i := range lines {
			lines[i] = strings.TrimRight(lines[i], " ")
		}
		fmt.Fprintf(&b, "# %s\n%s\n", strings.Join(words, " "), strings.Join(lines, "\n"))
	}
	var names []string
	for line := range strings.Lines(ip(t, pod, "-br", "link")) {
		name, _, _ := strings.Cut(strings.Fields(line)[0], "@")
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		run("ip", "-d", "addr", "show", name)
		run("tc", "qdisc", "show", "dev", name)
		run("tc", "class", "show", "dev", name)
		for _, parent := range []string{"ingress", "egress", "root"} {
			run("tc", "filter", "show", "dev", name, parent)
		}
	}
	for _, family := range []string{"-4", "-6"} {
		run("ip", family, "-d", "route", "show", "table", "all")
		run("ip", family, "rule")
		run("ip", family, "neigh", "show", "nud", "permanent")
		run("ip", family, "neigh", "show", "proxy")
	}
	run("ip", "nexthop")
	fmt.Fprintf(&b, "# sysctl\n%s", settings(t, pod))
	return b.String()
}

func settings(t *testing.T, pod *netnstest.Pod) string {
	t.Helper()
	var b strings.Builder
	err := pod.NS.Do(func() error {
		return filepath.WalkDir("/proc/sys/net", func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.Contains(path, "nf_conntrack_count") {
				return err
			}
			value, err := os.ReadFile(path)
			if err == nil {
				fmt.Fprintf(&b, "%s=%s\n", path, strings.TrimSpace(string(value)))
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func newFresh(t *testing.T) *netns.Namespace {
	t.Helper()
	slow(t)
	fresh, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fresh.Close() })
	return fresh
}

// stored takes a snapshot, and returns it as it is read from a disk.
func stored(t *testing.T, h *link.Handle) *link.Snapshot {
	t.Helper()
	b := must[[]byte](t)(json.Marshal(must[*link.Snapshot](t)(h.TakeSnapshot(newFresh(t)))))
	s := new(link.Snapshot)
	if err := json.Unmarshal(b, s); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSnapshotSettings: those that were changed, and no other, however many there are.
func TestSnapshotSettings(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		staging := netnstest.NewPod(t, "staging")
		script(t, staging, `
			ip link add eth0 type veth peer name eth1
			ip link set eth0 up
			ip link set eth1 up`)
		s := stored(t, open(t, staging))
		if len(s.Settings) != 0 {
			t.Errorf("untouched: %v", s.Settings)
		}
		for _, l := range s.Links {
			if len(l.Settings) != 0 {
				t.Errorf("%s: %v", l.Name, l.Settings)
			}
		}
	})
}

func twoPods(t *testing.T) (staging, sandbox *netnstest.Pod) {
	slow(t)
	return netnstest.NewPod(t, "staging"), netnstest.NewPod(t, "sandbox")
}

// outside makes veths whose other ends are in the test's own namespace, up.
func outside(t *testing.T, pod *netnstest.Pod, names ...string) {
	t.Helper()
	for i, name := range names {
		peer := "out" + name
		ip(t, nil, "link", "add", peer, "type", "veth", "peer", "name", name, "address", fmt.Sprintf("02:00:00:00:00:%02x", i+1), "netns", filepath.Base(pod.Path))
		netnstest.Up(t, nil, peer)
	}
}

// everything is what a chain of many plugins may leave.
const everything = `
	ip link set lo up
	ip link set eth0 mtu 1400 txqueuelen 77 alias tagged
	ip link property add dev eth0 altname another
	ip link set eth0 promisc on
	ip link set net1 allmulticast on
	sysctl ipv6/conf/eth0/accept_dad=0
	sysctl ipv6/conf/net1/accept_dad=0
	ip link add tap0 type veth peer name tap1
	ip tuntap add mode tap name vm0
	ip link add mac0 link eth0 type macvlan mode bridge
	sysctl ipv6/conf/mac0/accept_dad=0
	sysctl ipv4/conf/eth0/arp_notify=1
	sysctl ipv4/conf/net1/rp_filter=2
	sysctl ipv6/conf/eth0/accept_ra=0
	sysctl ipv4/neigh/eth0/base_reachable_time_ms=12345
	sysctl core/somaxconn=333
	sysctl ipv4/ip_local_port_range=20000 30000
	sysctl ipv4/conf/all/forwarding=1
	sysctl ipv4/conf/net1/forwarding=0
	sysctl ipv4/ping_group_range=0 100
	ip link set eth0 up
	ip link set net1 up
	ip link set mac0 up
	ip addr add 192.0.2.2/24 brd + dev eth0
	ip addr add 192.0.2.7/24 dev eth0 label eth0:x
	ip addr add 192.0.2.9 peer 198.51.100.9 dev eth0 metric 7
	ip addr add 169.254.7.1/32 scope link dev eth0
	ip addr add 203.0.113.2/24 dev net1 noprefixroute
	ip addr add 10.9.0.1/24 dev mac0
	ip addr add 2001:db8:9::1/64 nodad dev mac0
	ip addr add 192.168.77.1/32 dev lo
	ip addr add 2001:db8::2/64 nodad dev eth0
	ip addr add 2001:db8:1::2/64 nodad noprefixroute dev net1
	ip addr add 2001:db8:1::3/64 nodad noprefixroute dev net1
	ip addr add 2001:db8:1::6/64 nodad noprefixroute dev net1
	ip addr add fe80::7/64 nodad dev tap0
	ip route add default via 192.0.2.1 dev eth0
	ip -6 route add default via 2001:db8::1 dev eth0
	ip route add 203.0.113.0/24 dev net1 scope link
	ip -6 route add 2001:db8:1::/64 dev net1
	ip route add 10.0.0.0/8 via 203.0.113.1 dev net1 mtu 1300 advmss 1200 src 203.0.113.2
	ip route add 10.1.0.0/16 nexthop via 192.0.2.1 dev eth0 weight 2 nexthop via 203.0.113.1 dev net1 weight 3
	ip route add 10.2.0.0/16 via 172.16.0.1 dev net1 onlink metric 9
	ip route append 10.2.0.0/16 via 172.16.0.2 dev net1 onlink metric 9
	ip route add blackhole 10.3.0.0/16
	ip route add 10.5.0.0/16 via inet6 2001:db8::5 dev eth0
	ip -6 route add unreachable 2001:db8:dead::/48
	ip -6 route add 2001:db8:2::/48 nexthop via 2001:db8::1 dev eth0 weight 2 nexthop via 2001:db8:1::1 dev net1 weight 5
	ip route del 192.0.2.0/24 dev eth0
	ip route add 192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.2 table 100
	ip route add default via 192.0.2.1 dev eth0 table 100 onlink
	ip -6 route del 2001:db8::/64 dev eth0
	ip -6 route add 2001:db8::/64 dev eth0 proto kernel table 100
	ip -6 route add default via fe80::1 dev eth0 table 70000
	ip rule add from 192.0.2.2 lookup 100
	ip -6 rule add from 2001:db8::2 lookup 70000 pref 500
	ip rule add iif net1 fwmark 0x7/0xff lookup 100 suppress_prefixlength 0
	ip rule add to 10.77.0.0/16 ipproto tcp dport 80-90 pref 600 goto 20000
	ip rule add to 10.66.0.0/16 oif eth0 pref 20000 prohibit
	ip rule add not from all oif net1 to 0.0.0.0/0 pref 21000 lookup 77
	ip neigh add 192.0.2.1 lladdr 02:00:00:00:77:01 dev eth0 nud permanent
	ip neigh add 2001:db8::77 lladdr 02:00:00:00:77:02 dev eth0 nud permanent
	ip neigh add proxy 192.0.2.99 dev net1
	ip nexthop add id 5 via 203.0.113.77 dev net1
	ip nexthop add id 6 blackhole
	ip nexthop add id 7 via 203.0.113.78 dev net1
	ip nexthop add id 9 group 5,2/7,3
	ip route add 10.4.0.0/16 nhid 9
	ip route add 10.6.0.0/16 nhid 5
	tc qdisc add dev eth0 root handle 1: tbf rate 10mbit burst 32k latency 50ms
	tc qdisc add dev net1 root handle 1: htb default 20
	tc class add dev net1 parent 1: classid 1:1 htb rate 10mbit
	tc class add dev net1 parent 1:1 classid 1:10 htb rate 5mbit ceil 10mbit
	tc class add dev net1 parent 1:1 classid 1:20 htb rate 1mbit
	tc qdisc add dev net1 parent 1:10 handle 10: pfifo limit 500
	tc filter add dev net1 parent 1: protocol arp prio 7 u32 match u32 0 0 flowid 1:20
	tc filter add dev net1 parent 1: protocol ip prio 1 u32 match ip dst 10.0.0.0/8 flowid 1:10
	tc filter add dev net1 parent 1: protocol ipv6 prio 2 u32 match ip6 dst 2001:db8::/32 flowid 1:20
	tc filter add dev net1 parent 1: protocol ipv6 prio 2 handle 802::900 u32 match ip6 dst 2001:db9::/32 flowid 1:20
	tc qdisc add dev net1 clsact
	tc filter add dev net1 ingress protocol ip prio 3 u32 match ip src 10.0.0.0/8 action mirred egress redirect dev mac0
	tc filter add dev net1 egress protocol all prio 5 u32 match u32 0 0 action mirred egress mirror dev eth0
	tc qdisc add dev eth0 ingress
	tc filter add dev eth0 ingress protocol all prio 5 u32 match u32 0 0 action mirred egress redirect dev net1
	tc qdisc add dev mac0 root bfifo limit 12345
`

// TestSnapshot: all that a chain left is in the sandbox after the links, twice over, and
// the snapshot was on disk meanwhile.
func TestSnapshot(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		staging, sandbox := twoPods(t)
		outside(t, staging, "eth0", "net1")
		script(t, staging, everything)
		h, to := open(t, staging), open(t, sandbox)
		s := stored(t, h)
		before := settled(t, staging)
		if _, err := h.MoveAll(to, nil); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := to.Restore(s, link.RestoreOptions{}); err != nil {
				t.Errorf("restore: %v", err)
			}
			same(t, before, sandbox)
		}
	})
}

// settled is what a namespace has once its links run and know their own addresses.
func settled(t *testing.T, pod *netnstest.Pod) string {
	t.Helper()
	state := ""
	for range 50 {
		was := state
		if state = stateOf(t, pod); state == was && !strings.Contains(state, "scope link tentative") {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	return state
}

// same compares what was with what is.
func same(t *testing.T, before string, pod *netnstest.Pod) {
	t.Helper()
	diff := ""
	for range 30 {
		if diff = cmp.Diff(sections(before), sections(stateOf(t, pod))); diff == "" {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("(-before +after):\n%s", diff)
}

// sections are texts by the command that printed them.
func sections(state string) map[string]string {
	by := make(map[string]string)
	for part := range strings.SplitSeq(state, "# ") {
		command, text, _ := strings.Cut(part, "\n")
		by[command] = text
	}
	return by
}

func BenchmarkSnapshot(b *testing.B) {
	fresh, err := netns.New()
	if err != nil {
		b.Skip(err)
	}
	defer fresh.Close()
	staging, err := netns.New()
	if err != nil {
		b.Skip(err)
	}
	defer staging.Close()
	h, err := link.In(staging)
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	if err := h.AddVeth(link.Veth{Name: "eth0", PeerName: "peer"}); err != nil {
		b.Fatal(err)
	}
	b.Run("take", func(b *testing.B) {
		for b.Loop() {
			if _, err := h.TakeSnapshot(fresh); err != nil {
				b.Fatal(err)
			}
		}
	})
	settings, err := link.ReadSettings(fresh)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("take beside", func(b *testing.B) {
		for b.Loop() {
			if _, err := h.TakeSnapshotBeside(settings); err != nil {
				b.Fatal(err)
			}
		}
	})
	s, err := h.TakeSnapshot(fresh)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("restore", func(b *testing.B) {
		for b.Loop() {
			if err := h.Restore(s, link.RestoreOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestLinkSnapshot: a link that leaves its namespace and comes back, with what is not its
// own left alone.
func TestLinkSnapshot(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		slow(t)
		pod := netnstest.NewPod(t, "pod")
		outside(t, pod, "eth0", "net1")
		script(t, pod, `
			ip link set eth0 up
			ip link set net1 up
			ip addr add 192.0.2.2/24 dev eth0
			ip addr add 198.51.100.2/24 dev net1
			ip addr add 2001:db8::2/64 nodad dev eth0
			ip route add 10.0.0.0/8 via 192.0.2.1
			ip route add 10.9.0.0/16 via 198.51.100.1
			ip route add default via 192.0.2.1 table 100
			ip rule add from 192.0.2.2 table 100
			ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent
			tc qdisc add dev eth0 root tbf rate 1mbit burst 10k latency 10ms
			sysctl ipv4/conf/eth0/rp_filter=2
			sysctl ipv4/ip_forward=1`)
		before := settled(t, pod)
		h := open(t, pod)
		s := must[*link.Snapshot](t)(h.TakeLinkSnapshot("eth0"))
		host := must[*link.Handle](t)(link.Open())
		t.Cleanup(func() { host.Close() })
		l := must[link.Link](t)(h.ByName("eth0"))
		if err := h.Move(l, link.Move{To: host, Name: "away"}); err != nil {
			t.Fatal(err)
		}
		l = must[link.Link](t)(host.ByName("away"))
		if err := host.Move(l, link.Move{To: h, Name: "eth0"}); err != nil {
			t.Fatal(err)
		}
		if err := h.Restore(s, link.RestoreOptions{Names: map[string]string{"eth0": "eth0"}}); err != nil {
			t.Error(err)
		}
		same(t, before, pod)
		if _, err := h.TakeLinkSnapshot("eth7"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("of no link: %v", err)
		}
	})
}
