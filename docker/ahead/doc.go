// Package ahead asks a network's IPAM plugin for addresses before there is an interface
// to have them: Docker wants to know a container's address before it says where the
// container is, and reserves addresses that no container ever has.
//
// What is asked is the IPAM plugin alone, with the configuration that the network's
// interface plugin would hand it, as an attachment of its own in a namespace without any
// interface. So an address that is reserved is a lease like any pod's, in the same
// folder; it has a record, by which Collect knows that it is in use; and it is given back by
// Detach, whatever has become of the network's file.
//
// It is not for IPAM plugins that speak on the interface, which is dhcp (see
// Desk.CanAsk).
//
// To debug: "seam ls" shows what is reserved as the interface "reserved" of containers
// whose ID begins with "docker-".
package ahead
