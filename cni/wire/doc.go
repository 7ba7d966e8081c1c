// Package wire is the execution protocol of the Container Network Interface, both
// ends of it: Serve answers one call as a plugin, Path finds plugins, and an
// Executable calls one. The JSON forms of the specification's versions, the CNI_*
// environment and the execution of programs are here and nowhere else.
//
// It is not for networks and their chains (that is the root package), nor does it
// know what any plugin does.
//
// To see what a plugin is given, put a script of its name before it in CNI_PATH:
//
//	#!/bin/sh
//	env | grep ^CNI_ >&2
//	tee /dev/stderr | /opt/cni/bin/bridge
package wire
