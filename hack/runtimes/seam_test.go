package runtimes

import (
	"encoding/json"
	"slices"
	"strings"
)

// An attachment is what "seam ls" says of one.
type attachment struct {
	Network, ContainerID, IfName string
	Addresses, Ports             []string
	Stale                        bool
}

// attachments returns what "seam ls" lists of a network, without addresses that are only
// reserved.
func (n *node) attachments(network string) []attachment {
	n.Helper()
	var listing struct{ Attachments []attachment }
	n.must(json.Unmarshal([]byte(n.run(built("seam"), "ls", "--json")), &listing))
	return slices.DeleteFunc(listing.Attachments, func(a attachment) bool { return a.Network != network || a.IfName == "reserved" })
}

// attached returns the attachment of the container, and fails unless "seam ls" lists
// it as alive, once.
func (n *node) attached(network, containerID string) attachment {
	n.Helper()
	found := slices.DeleteFunc(n.attachments(network), func(a attachment) bool { return a.ContainerID != containerID })
	if len(found) != 1 || found[0].Stale || len(found[0].Addresses) == 0 {
		n.Fatalf("seam ls: container %s on %s: %+v, want one attachment with addresses that is alive", containerID, network, found)
	}
	return found[0]
}

// addr returns the first address without the length of its prefix.
func (a attachment) addr() string {
	addr, _, _ := strings.Cut(a.Addresses[0], "/")
	return addr
}

// sound fails unless every attachment is as it was made.
func (n *node) sound() {
	n.Helper()
	if out, err := n.try(built("seam"), "check", "--all"); err != nil {
		n.Errorf("%s\n%v", out, err)
	}
}
