package runtimes

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestDockerStale: an endpoint that the engine does not know is collected when it says
// so, and not while it says nothing.
func TestDockerStale(t *testing.T) {
	onEngines(t, func(d *docker) {
		d.driverFlags = []string{"--collect-every", "100ms"}
		before := d.pair()
		d.create("third", noAddresses("prod")...)
		id := d.docker("network", "inspect", "--format", "{{.Id}}", "third")
		alone := d.footprint()
		kept := func(engine string) {
			d.Helper()
			d.orphan(id)
			time.Sleep(time.Second) // ten looks
			if got := contents(filepath.Join(d.driverState(), "endpoints", orphan)); got == "" {
				d.Errorf("an endpoint was collected while the engine was %s", engine)
			}
		}
		d.orphan(id)
		d.same(alone)
		// An address and a pool that no network has.
		pool := d.call("IpamDriver.RequestPool", map[string]any{"Options": map[string]string{"seam.network": "prod"}}).PoolID
		d.call("IpamDriver.RequestAddress", map[string]any{"PoolID": pool})
		d.same(alone)

		d.must(d.process.Process.Signal(unix.SIGSTOP)) // it takes questions, and does not answer
		kept("silent")
		d.must(d.process.Process.Signal(unix.SIGCONT))
		d.same(alone)

		d.kill9()
		kept("dead")
		d.start()
		d.docker("network", "rm", "third")
		d.unpair(before)
	})
}

// TestDockerGatewayKept: engines do not list a gateway that nobody asked for by its address,
// and it is not for the next container.
func TestDockerGatewayKept(t *testing.T) {
	onEngines(t, func(d *docker) {
		d.driverFlags = []string{"--collect-every", "100ms"}
		d.withSeamd()
		d.network(prodNetwork) // with the firewall's static rules, which stay
		before := d.footprint()
		d.create("small", "--ipam-driver", d.driverName, "--subnet", "10.74.0.0/30")
		gateway := filepath.Join(d.driverState(), "pools", "addresses")
		leased := files(gateway)
		time.Sleep(time.Second) // ten looks
		if diff := cmp.Diff(leased, files(gateway)); diff != "" || len(leased) == 0 {
			d.Errorf("addresses of a network without containers (-before +after):\n%s", diff)
		}
		d.web("web", "small")
		d.answers(nil, d.on("small", "web").IPAddress+":80", "web asked by 10.74.0.1")
		d.remove("web")
		d.docker("network", "rm", "small")
		d.same(before)
	})
}

// orphan is the ID of an endpoint that no engine has asked for.
const orphan = "0badc0de0badc0de0badc0de0badc0de0badc0de0badc0de0badc0de0badc0de"

func (d *docker) orphan(networkID string) {
	d.Helper()
	d.call("NetworkDriver.CreateEndpoint", map[string]any{
		"NetworkID": networkID, "EndpointID": orphan, "Interface": map[string]string{}, "Options": map[string]any{},
	})
}

// call calls the driver as an engine does.
func (d *docker) call(method string, body any) (answer struct{ Err, PoolID, Address string }) {
	d.Helper()
	client := http.Client{Timeout: longest, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", d.driverSocket())
		},
	}}
	defer client.CloseIdleConnections()
	response, err := client.Post("http://driver/"+method, "application/json", bytes.NewReader(encode(body)))
	d.must(err)
	defer response.Body.Close()
	d.must(json.NewDecoder(response.Body).Decode(&answer))
	if answer.Err != "" {
		d.Fatalf("%s: %s", method, answer.Err)
	}
	return answer
}
