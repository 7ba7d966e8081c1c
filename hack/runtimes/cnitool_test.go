package runtimes

import (
	"os"
	"strings"
	"testing"

	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/plugintest"
)

const toolNetwork = `{"cniVersion": "1.1.0", "name": "tool", "plugins": [
	{"type": "bridge", "bridge": "tool0", "isDefaultGateway": true, "ipMasq": true,
	 "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.64.0.0/24"}], [{"subnet": "fd00:64::/64"}]]}},
	{"type": "portmap", "capabilities": {"portMappings": true}}]}`

const toolPorts = `{"portMappings": [{"hostPort": 18097, "containerPort": 80, "protocol": "tcp"}]}`

// TestCnitool: cnitool and seam work on the same attachments, whoever made them.
func TestCnitool(t *testing.T) {
	t.Parallel()
	onNode(t, func(n *node) {
		n.network(toolNetwork)
		pod := netnstest.NewPod(n, "tooled")
		n.listen(pod, "[::]:80", "tooled")
		before := n.footprint()
		n.must(os.Setenv("CNI_PATH", binDir))
		n.must(os.Setenv("CAP_ARGS", toolPorts))
		cnitool, seam := built("cnitool"), built("seam")

		for _, by := range []struct{ add, check, del string }{
			{cnitool, seam, seam}, {seam, cnitool, cnitool}, {cnitool, cnitool, cnitool},
		} {
			n.run(by.add, "add", "tool", pod.Path)
			a := n.attachments("tool")
			if len(a) != 1 || len(a[0].Addresses) != 2 || strings.Join(a[0].Ports, " ") != "18097:80/tcp" || a[0].Stale {
				t.Fatalf("seam ls: %+v, want one with two addresses and a port", a)
			}
			n.answers(n.outside, nodeAddr+":18097", "tooled asked by "+outsideAddr)
			n.answers(nil, a[0].addr()+":80", "tooled asked by 10.64.0.1")
			n.run(by.check, "check", "tool", pod.Path)
			n.sound()

			plugintest.Run(t, pod, "ip", "route", "del", "default")
			if out, err := n.try(by.check, "check", "tool", pod.Path); err == nil {
				t.Errorf("%s check: nothing missing of what was taken away\n%s", by.check, out)
			}
			n.run(by.del, "del", "tool", pod.Path)
			n.same(before)
			n.run(by.add, "del", "tool", pod.Path)
		}
		n.run(cnitool, "status", "tool", pod.Path)
		n.collected(pod.Path)
	})
}

// collected lets both collect: cnitool detaches all that it has a record of, Seam also
// finds what nobody has.
func (n *node) collected(path string) {
	n.Helper()
	before := n.footprint()
	n.run(built("cnitool"), "add", "tool", path)
	n.run(built("cnitool"), "gc", "tool", path)
	n.same(before)

	n.run(built("cnitool"), "add", "tool", path)
	for _, record := range files("/var/lib/cni/results") {
		n.must(os.Remove(record))
	}
	n.run(built("seam"), "gc", "tool", "--keep-none")
	n.same(before)
}
