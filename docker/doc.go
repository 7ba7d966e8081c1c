// Package docker makes any CNI network one of Docker's: it is a network driver and an
// IPAM driver in the words of package cnm, whose endpoints are attachments of a
// seam.Runtime.
//
// It is not for the protocol and its sockets (cnm/wire), nor for the other way round, a
// Docker driver under CNI (plugin/cnm).
//
// # Where the chain runs
//
// An engine that has the container's namespace when it calls Join (28 and newer; all when
// a running container is connected) gets the chain run inside that namespace. For one that
// mounts it only later the chain runs in a staging namespace: the engine moves the
// interface on, and what else the chain left there is added as soon as the namespace
// lives (see Driver.Run). A chain that must have an interface to say its address, as with
// DHCP, runs in a staging namespace in any case, because the engine wants the
// address before it says where the container is.
//
// # Files
//
//	StateDir/networks/ID   a network, as the engine asked for it
//	StateDir/endpoints/ID  an endpoint: what was asked, answered, attached
//	RunDir/netns/ID        the namespace of an endpoint whose chain ran in a staging one
//
// To debug: cat these files; "seam ls" and "seam show" tell of the attachments, whose
// container ID is the endpoint's.
package docker
