package drivers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/seamnet/seam/conformance"
)

// A Target is a driver of Docker's, and how networks of it are made.
type Target struct {
	// Socket is a path. Of a driver that the suite starts it may begin with {dir}, and is
	// {dir}/driver.sock by default.
	Socket string

	// IPAMSocket is of the IPAM driver that belongs to it, if that is another one.
	IPAMSocket string

	// Command is the program that starts the driver, with its arguments, in which {dir}
	// stands for a folder that it has for itself and finds again when it is started again,
	// and {socket} for Socket. Empty: the driver runs already, on this host.
	Command []string

	NetworkOptions map[string]string // each -o KEY=VALUE of docker network create
	IPAMOptions    map[string]string // each --ipam-opt KEY=VALUE

	// Subnet is --subnet; invalid: the IPAM driver chooses, or for a driver that has
	// addresses of Docker's own, it is 10.99.0.0/24.
	Subnet netip.Prefix

	// OtherIPAM has networks made with addresses of Docker's own although there is an IPAM
	// driver.
	OtherIPAM bool
}

// SuiteName is the suite's in conformance.Suites.
const SuiteName = "drivers"

// driverDir is {dir}, on the host of a check.
const driverDir = "/run/conformance/driver"

// needs are what a check cannot do without.
type needs int

const (
	networks  needs = 1 << iota // a network driver
	addresses                   // an IPAM driver
	command                     // the command that starts the driver
)

// A check is one of this suite.
type check struct {
	conformance.Check
	needs needs
	run   func(e *engine)
}

// Suite returns the checks for the target.
func Suite(target Target, title string) (conformance.Suite, error) {
	if err := target.complete(); err != nil {
		return conformance.Suite{}, err
	}
	s := conformance.Suite{Name: SuiteName, Target: target, Title: title, Here: len(target.Command) == 0}
	for _, c := range checks() {
		c.Check.Run = func(t *conformance.T) { c.carryOut(t, target) }
		s.Checks = append(s.Checks, c.Check)
	}
	return s, nil
}

func (target *Target) complete() error {
	started := len(target.Command) > 0
	if target.Socket == "" && started {
		target.Socket = "{dir}/driver.sock"
	}
	for _, socket := range []string{target.Socket, target.IPAMSocket} {
		if socket != "" && !filepath.IsAbs(target.place(socket)) {
			return fmt.Errorf("socket %q: must be an absolute path, or begin with {dir}", socket)
		}
	}
	if target.Socket == "" {
		return errors.New("driver: neither its socket nor the command that starts it is named")
	}
	if target.Subnet.IsValid() && target.Subnet != target.Subnet.Masked() {
		return fmt.Errorf("subnet %s: has bits beyond its length: %s is meant?", target.Subnet, target.Subnet.Masked())
	}
	return nil
}

// Reopen makes the suite again, for conformance.Suites.
func Reopen(raw json.RawMessage) (conformance.Suite, error) {
	var target Target
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields() // another program may have written it
	if err := d.Decode(&target); err != nil {
		return conformance.Suite{}, fmt.Errorf("target: %w", err)
	}
	return Suite(target, "")
}

// checks returns all of them, in the order of the report.
func checks() []check {
	return slices.Concat(protocolChecks(), requestChecks(), orderChecks(), poolChecks(), addressChecks(),
		kernelChecks(), networkChecks(), leakChecks(), speedChecks())
}

// All returns the list of checks for people: without what they do.
func All() []conformance.Check {
	var all []conformance.Check
	for _, c := range checks() {
		all = append(all, c.Check)
	}
	return all
}
