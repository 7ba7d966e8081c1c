// Package drivers is the conformance suite for Docker's remote drivers: network drivers
// and IPAM drivers, behind a socket.
//
// The suite is the engine: it makes the calls in the order in which engines of the
// versions 20.10 to 29 make them, and with what these send, and does in the kernel what an
// engine does with the answers. Sandboxes are namespaces of its own. It is not an engine:
// no container is started and no image is needed.
//
// A driver that the suite starts itself (Target.Command) has a fresh host, and a folder of
// its own, for each check. One that runs already is asked on its own host, one check at a
// time, and what was made there is removed.
//
// To see what a driver was asked and answered, read the notes of the finding; to see what
// it logged, make it write to standard error: the last of it is in the notes of a failure.
package drivers
