package nft_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/nft"
)

// ip runs ip(8) on the host or, with a pod, in it.
func ip(t *testing.T, pod, command string) {
	t.Helper()
	args := []string{"ip"}
	if pod != "" {
		args = append(args, "-n", pod)
	}
	run(t, append(args, strings.Fields(command)...)...)
}

// reaches reports whether from can connect to a server in to.
func reaches(t *testing.T, from, to *netnstest.Pod, addr string) bool {
	t.Helper()
	var l net.Listener
	must(t, to.NS.Do(func() (err error) {
		l, err = net.Listen("tcp", addr)
		return err
	}))
	defer l.Close()
	return from.NS.Do(func() error {
		c, err := net.DialTimeout("tcp", addr, 800*time.Millisecond)
		if err == nil {
			c.Close()
		}
		return err
	}) == nil
}

func TestGuardTraffic(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		table := open(t)
		ip(t, "", "link add br0 type bridge")
		ip(t, "", "link set br0 up")
		pods := make(map[string]*netnstest.Pod)
		for name, addr := range map[string]string{"one": "10.1.0.2/24", "two": "10.1.0.3/24"} {
			pods[name] = netnstest.NewPod(t, name)
			ip(t, "", "link add v"+name+" type veth peer name eth0 netns "+name)
			ip(t, "", "link set v"+name+" master br0 up")
			ip(t, name, "addr add "+addr+" dev eth0")
			ip(t, name, "link set eth0 up")
		}
		ip(t, "one", "link set eth0 address 02:00:00:00:00:01")
		must(t, table.Put(owner("one"), nft.Guard{Link: "vone", MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}}))
		if !reaches(t, pods["one"], pods["two"], "10.1.0.3:80") {
			t.Error("with its own MAC address, the guarded pod does not reach the other")
		}
		ip(t, "one", "link set eth0 address 02:00:00:00:00:02")
		if reaches(t, pods["one"], pods["two"], "10.1.0.3:80") {
			t.Error("with another MAC address, the guarded pod reaches the other")
		}
		ip(t, "two", "link set eth0 address 02:00:00:00:00:03")
		must(t, table.Drop(owner("one"), nil))
		if !reaches(t, pods["one"], pods["two"], "10.1.0.3:80") {
			t.Error("without a guard, the pod does not reach the other")
		}
	})
}

func TestAdmitForwardTraffic(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		table := open(t)
		pods := make(map[string]*netnstest.Pod)
		for name, net := range map[string]string{"one": "10.1.0.", "two": "10.2.0."} {
			pods[name] = netnstest.NewPod(t, name)
			ip(t, "", "link add v"+name+" type veth peer name eth0 netns "+name)
			ip(t, "", "addr add "+net+"1/24 dev v"+name)
			ip(t, "", "link set v"+name+" up")
			ip(t, name, "addr add "+net+"2/24 dev eth0")
			ip(t, name, "link set eth0 up")
			ip(t, name, "route add default via "+net+"1")
		}
		run(t, "sysctl", "-qw", "net.ipv4.ip_forward=1")
		run(t, "iptables", "-P", "FORWARD", "DROP")
		if reaches(t, pods["one"], pods["two"], "10.2.0.2:80") {
			t.Fatal("the policy does not drop")
		}
		must(t, table.AdmitForward("vone"))
		for _, way := range [][2]string{{"one", "10.2.0.2:80"}, {"two", "10.1.0.2:80"}} {
			to := map[string]string{"one": "two", "two": "one"}[way[0]]
			if !reaches(t, pods[way[0]], pods[to], way[1]) {
				t.Errorf("%s does not reach %s", way[0], way[1])
			}
		}
		must(t, table.RevokeForward("vone"))
		if reaches(t, pods["one"], pods["two"], "10.2.0.2:80") {
			t.Error("revoked, but it passes")
		}
		must(t, table.AdmitForward("vo+"))
		if !reaches(t, pods["one"], pods["two"], "10.2.0.2:80") {
			t.Error("a prefix of the name does not do")
		}
	})
}
