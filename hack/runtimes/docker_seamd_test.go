package runtimes

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// startSeamd starts Seam's driver, on the state that it had, and waits until it can be
// called.
func (d *docker) startSeamd() {
	d.Helper()
	log, err := os.OpenFile(d.driverLog(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	d.must(err)
	defer log.Close()
	if d.driver != nil {
		d.Fatal("seamd runs already")
	}
	_ = os.Remove(d.driverSocket()) // so that what answers is the new one
	args := []string{
		"docker", "--name", d.driverName, "--socket", d.driverSocket(),
		"--state-dir", d.driverState(), "--conf-dir", confDir, "--bin-dir", binDir, "--engine", "unix://" + d.socket(),
	}
	d.driver = exec.Command(built("seamd"), append(args, d.driverFlags...)...)
	d.driver.Stdout, d.driver.Stderr = log, log
	d.must(d.driver.Start())
	d.eventually(func() error {
		conn, err := net.Dial("unix", d.driverSocket())
		if err == nil {
			conn.Close()
		}
		return err
	})
}

// withSeamd starts the driver for the rest of the test.
func (d *docker) withSeamd() {
	d.Helper()
	d.startSeamd()
	d.Cleanup(func() {
		d.killSeamd()
		if d.Failed() {
			d.Log(contents(d.driverLog()))
		}
	})
}

// killSeamd ends the driver as a power failure would.
func (d *docker) killSeamd() {
	d.Helper()
	d.endSeamd(unix.SIGKILL)
}

// stopSeamd ends the driver as systemd does.
func (d *docker) stopSeamd() {
	d.Helper()
	d.endSeamd(unix.SIGTERM)
}

func (d *docker) endSeamd(signal unix.Signal) {
	d.Helper()
	if d.driver == nil {
		return
	}
	d.must(d.driver.Process.Signal(signal))
	_ = d.driver.Wait() // says that it was killed
	d.driver = nil
}

func (d *docker) driverState() string  { return filepath.Join(d.dir, "seamd") }
func (d *docker) driverSocket() string { return "/run/docker/plugins/" + d.driverName + ".sock" }
func (d *docker) driverLog() string    { return filepath.Join(d.dir, "seamd.log") }

// footprint is the node's, and what the driver keeps, without an empty namespace that it
// makes with the first use.
func (d *docker) footprint() string {
	d.Helper()
	lines := append(strings.Split(d.node.footprint(), "\n"), files(d.driverState())...)
	lines = slices.DeleteFunc(lines, func(line string) bool { return strings.HasSuffix(line, "/run/seam/docker/empty") })
	return strings.Join(lines, "\n")
}

// same waits until all is as it was, or fails.
func (d *docker) same(before string) {
	d.Helper()
	d.eventually(func() error {
		if diff := cmp.Diff(before, d.footprint()); diff != "" {
			return fmt.Errorf("something is left, or gone (-before +now):\n%s", diff)
		}
		return nil
	})
}
