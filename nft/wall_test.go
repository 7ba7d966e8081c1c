package nft_test

import (
	"net"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/nft"
)

// walls makes two bridges of the host with two pods each, named by bridge and number:
// a1, a2, b1, b2.
func walls(t *testing.T) (pods map[string]*netnstest.Pod, at map[string]string) {
	t.Helper()
	pods, at = make(map[string]*netnstest.Pod), make(map[string]string)
	for bridge, net := range map[string]string{"a": "10.1.0.", "b": "10.2.0."} {
		ip(t, "", "link add br"+bridge+" type bridge")
		ip(t, "", "addr add "+net+"1/24 dev br"+bridge)
		ip(t, "", "link set br"+bridge+" up")
		for n, last := range map[string]string{"1": "11", "2": "12"} {
			name := bridge + n
			pods[name], at[name] = netnstest.NewPod(t, name), net+last+":80"
			ip(t, "", "link add v"+name+" type veth peer name eth0 netns "+name)
			ip(t, "", "link set v"+name+" master br"+bridge+" up")
			ip(t, name, "addr add "+net+last+"/24 dev eth0")
			ip(t, name, "link set eth0 up")
			ip(t, name, "route add default via "+net+"1")
		}
	}
	run(t, "sysctl", "-qw", "net.ipv4.ip_forward=1")
	return pods, at
}

// listen answers on port 80 of the pod until the test ends.
func listen(t *testing.T, pod *netnstest.Pod) {
	t.Helper()
	must(t, pod.NS.Do(func() error {
		l, err := net.Listen("tcp", ":80")
		if err == nil {
			t.Cleanup(func() { l.Close() })
		}
		return err
	}))
}

// connects is patient for long enough: the ways are there before the first packet.
func connects(from *netnstest.Pod, to string) bool {
	return from.NS.Do(func() error {
		c, err := net.DialTimeout("tcp", to, 250*time.Millisecond)
		if err == nil {
			c.Close()
		}
		return err
	}) == nil
}

func TestWallTraffic(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		table := open(t)
		pods, at := walls(t)
		for _, p := range pods {
			listen(t, p)
		}
		expect := func(when string, pass ...string) {
			t.Helper()
			ways := []string{"a1 b1", "b1 a1", "a1 a2"}
			got := make(chan string, len(ways))
			for _, way := range ways {
				go func() {
					if !connects(pods[way[:2]], at[way[3:]]) {
						way = ""
					}
					got <- way
				}()
			}
			var passed []string
			for range ways {
				if way := <-got; way != "" {
					passed = append(passed, way)
				}
			}
			slices.Sort(passed)
			slices.Sort(pass)
			if diff := cmp.Diff(pass, passed); diff != "" {
				t.Errorf("%s: who reaches whom (-want +got):\n%s", when, diff)
			}
		}
		a, b := nft.WallOwner("bra", "firewall"), nft.WallOwner("brb", "firewall")
		must(t, table.Put(a, nft.Wall{Link: "bra"}))
		expect("one wall", "a1 b1", "b1 a1", "a1 a2")
		must(t, table.Put(b, nft.Wall{Link: "brb", Shut: true}))
		expect("two walls", "a1 a2")
		must(t, table.Put(owner("a2"), nft.Isolation{Link: "va2"}))
		expect("isolated")
		must(t, table.Drop(b, nil))
		must(t, table.Drop(owner("a2"), nil))
		expect("dropped", "a1 b1", "b1 a1", "a1 a2")

		// A record brings both back after someone's flush.
		must(t, table.Put(b, nft.Wall{Link: "brb"}))
		run(t, "nft", "flush", "ruleset")
		if table.Check(b, nft.Wall{Link: "brb"}) == nil {
			t.Error("Check finds nothing after a flush")
		}
		must(t, table.Repair())
		expect("repaired", "a1 a2")
		if _, err := table.Retain("firewall", "net", nil, nil); err != nil {
			t.Error(err)
		}
		expect("after a collection", "a1 a2")
	})
}

func TestInIPTables(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		table := open(t)
		there := func() bool {
			t.Helper()
			there, err := table.InIPTables("CNI-ADMIN")
			must(t, err)
			return there
		}
		if there() {
			t.Error("found on an empty host")
		}
		run(t, "ip6tables", "-N", "CNI-ADMIN")
		if !there() {
			t.Error("not found")
		}
	})
}
