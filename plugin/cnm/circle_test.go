package cnm_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns/netnstest"
	"github.com/seamnet/seam/plugin/cnm"
	"github.com/seamnet/seam/plugin/plugintest"
	"github.com/seamnet/seam/plugin/static"
)

// ring serves Seam's own Docker driver, called ring, with the network inner of CNI's, and
// returns the folder of its socket.
func ring(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	program, conf := plugintest.Daemon(t), filepath.Join(dir, "conf")
	plugintest.Must(t, os.Mkdir(conf, 0o700))
	inner := `{"cniVersion":"1.1.0","name":"inner","plugins":[
		{"type":"bridge","bridge":"inner0","isDefaultGateway":true,
		 "ipam":{"type":"host-local","dataDir":"` + dir + `/leases","ranges":[[{"subnet":"10.80.0.0/24"}],[{"subnet":"fd00:80::/64"}]]}}]}`
	plugintest.Must(t, os.WriteFile(filepath.Join(conf, "inner.conflist"), []byte(inner), 0o600))
	serve := exec.Command(program, "docker", "--name", "ring", "--socket", filepath.Join(dir, "ring.sock"), "--engine", "",
		"--state-dir", dir+"/state", "--run-dir", "/run/ring", "--conf-dir", conf, "--bin-dir", conf, "--cache-dir", dir+"/cache")
	var log strings.Builder
	serve.Stderr = &log
	plugintest.Must(t, serve.Start())
	t.Cleanup(func() {
		_ = serve.Process.Signal(syscall.SIGTERM)
		_ = serve.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	return dir
}

// TestCircle: CNI asks Docker's driver that asks CNI: a pod on a cnm network whose driver is
// Seam's own stands on a bridge of CNI's, whoever gives the address.
func TestCircle(t *testing.T) {
	netnstest.Host(t, func(t *testing.T) {
		dir := ring(t)
		f := plugintest.New(t, cnm.New(plugintest.Host(t)), cni.Registry{"static": static.New()})
		request := func(id string, pod *netnstest.Pod, keys string) *cni.Request {
			conf := plugintest.Conf("cnm", `"driver":"ring","pluginDirs":["`+dir+`"],"options":{"seam.network":"inner"}`+keys)
			return plugintest.Request(t, conf, pod, id, f.Plugins)
		}
		for range 500 {
			if f.Status(t.Context(), request("c1", f.Pod, "")) == nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		for i, test := range []struct{ keys, first string }{
			{``, "10.80.0.2/24"},
			{`,"ipamDriver":"ring","ipamOptions":{"seam.network":"inner"}`, "10.80.0."},
			{`,"ipam":{"type":"static","addresses":[{"address":"10.80.0.7N/24","gateway":"10.80.0.1"}]}`, "10.80.0.71/24"},
		} {
			other := netnstest.NewPod(t, fmt.Sprint("pod-", i))
			first := request("c1", f.Pod, strings.ReplaceAll(test.keys, "7N", "71"))
			f.Attach(f, first)
			ips := first.Prev.IPs
			if len(ips) == 0 || !strings.HasPrefix(ips[0].Address.String(), test.first) || ips[0].Gateway.String() != "10.80.0.1" {
				t.Fatalf("%s: addresses %+v", test.keys, ips)
			}
			if !strings.Contains(f.IP("route"), "default via 10.80.0.1 dev eth0") {
				t.Errorf("%s: routes:\n%s", test.keys, f.IP("route"))
			}
			f.Passes(first)
			second := request("c2", other, strings.ReplaceAll(test.keys, "7N", "72"))
			result, err := f.Add(t.Context(), second)
			plugintest.Must(t, err)
			plugintest.Reach(t, f.Pod, other, result.IPs[0].Address.Addr().String())
			plugintest.Must(t, f.Del(t.Context(), second))
			f.DetachTwice(first)
			gc := *first
			gc.Attachment, gc.NetNS, gc.Prev, gc.Valid = cni.Attachment{Network: "net"}, "", nil, []cni.Attachment{}
			plugintest.Must(t, f.GC(t.Context(), &gc))
			for _, kept := range []string{"networks", "endpoints"} {
				if left, _ := os.ReadDir(filepath.Join(dir, "state", kept)); len(left) > 0 {
					t.Errorf("%s: left in %s: %v", test.keys, kept, left)
				}
			}
			if leases, _ := filepath.Glob(dir + "/leases/*/[0-9f]*"); len(leases) > 0 {
				t.Errorf("%s: leases are left: %v", test.keys, leases)
			}
		}
	})
}
