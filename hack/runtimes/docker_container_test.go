package runtimes

import (
	"encoding/json"
	"fmt"
	"strings"
)

// A standing is what "docker inspect" says of a container's place on one network.
type standing struct {
	IPAddress, GlobalIPv6Address string
	IPPrefixLen                  int
	Gateway, IPv6Gateway         string
	MacAddress                   string
	EndpointID                   string
	Aliases                      []string
}

// on returns how the container stands on the network, and fails if it does not.
func (d *docker) on(network, container string) standing {
	d.Helper()
	var inspected []struct {
		NetworkSettings struct{ Networks map[string]standing }
	}
	d.must(json.Unmarshal([]byte(d.docker("inspect", container)), &inspected))
	s, ok := inspected[0].NetworkSettings.Networks[network]
	if !ok {
		d.Fatalf("docker inspect: %s is not on %s", container, network)
	}
	return s
}

// web runs a web server in the background and returns the container's ID.
func (d *docker) web(name, network string, args ...string) string {
	d.Helper()
	return d.docker(webArgs(name, network, args...)...)
}

func webArgs(name, network string, args ...string) []string {
	all := []string{"run", "--detach", "--name", name, "--env", "NAME=" + name, "--stop-signal", "KILL"}
	if network != "" {
		all = append(all, "--network", network)
	}
	all = append(all, args...)
	return append(all, image, "httpd", "-f", "-h", "/www")
}

// inside runs a program in the container and returns what it prints.
func (d *docker) inside(container string, args ...string) string {
	d.Helper()
	return d.docker(append([]string{"exec", container}, args...)...)
}

// asks asks from inside the container, by name or address.
func (d *docker) asks(container, address, want string) {
	d.Helper()
	d.eventually(func() error {
		got, err := d.tryDocker("exec", container, "wget", "-qO-", url(address))
		if err == nil && got != want {
			err = fmt.Errorf("%s asks %s: %q, want %q", container, address, got, want)
		}
		return err
	})
}

// knows asks from inside the container by name: of the networks that both are on, the
// engine's name server chooses one.
func (d *docker) knows(container, name string) {
	d.Helper()
	d.eventually(func() error {
		got, err := d.tryDocker("exec", container, "wget", "-qO-", url(name))
		if err == nil && !strings.HasPrefix(got, name+" asked by ") {
			err = fmt.Errorf("%s asks %s: %q", container, name, got)
		}
		return err
	})
}

// reach has the containers ask one another by name and by address.
func (d *docker) reach(network string, containers ...string) {
	d.Helper()
	for _, from := range containers {
		for _, to := range containers {
			if from == to {
				continue
			}
			d.asks(from, d.on(network, to).IPAddress, to+" asked by "+d.on(network, from).IPAddress)
			d.knows(from, to)
		}
	}
}

// remove removes containers, running or not.
func (d *docker) remove(containers ...string) {
	d.Helper()
	d.docker(append([]string{"rm", "--force", "--volumes"}, containers...)...)
}

// has fails unless the text has all of the words.
func (d *docker) has(what, text string, words ...string) {
	d.Helper()
	for _, word := range words {
		if !strings.Contains(text, word) {
			d.Errorf("%s: no %q in\n%s", what, word, text)
		}
	}
}
