// Package seam is a runtime of the Container Network Interface: it loads a
// network's configuration, attaches containers to it by running its plugins one
// after another, and undoes, checks and collects what it attached.
//
// It is for whoever starts containers: the command seam, a Docker driver, an OCI
// hook, a program of yours. It is not for plugins (package cni has their face), not
// for the protocol that executed plugins speak (cni/wire), and it does nothing to
// the kernel by itself.
//
//	rt := seam.Runtime{Plugins: finder}
//	network, err := seam.Load("/etc/cni/net.d", "blue")
//	result, err := rt.Attach(ctx, network, seam.Container{ID: "c1", IfName: "eth0", NetNS: "/run/netns/c1"})
//
// # Beside libcni
//
// Networks, search order, the cache of results and what a plugin is told are
// libcni's, so that both can serve one host in turn. Beyond it, a failed Attach is
// rolled back at once, an operation cut short by kill -9 is undone by the next one, two
// operations on one container never overlap, Collect excludes all others on its
// network, every plugin call is bounded in time, and plugins may be linked in.
//
// What differs on purpose: Attach refuses what is attached; Detach goes on after a
// plugin's error; Check wants a record; Collect without a list of what is valid
// detaches nothing; built-in plugins get GC and STATUS in networks of any version;
// plugins are not sent "capabilities", which the specification forbids, nor a
// "prevResult" that an administrator wrote; numbers keep their digits; and a missing
// version reaches plugins as "0.1.0", which it means.
//
// # Files
//
// All are for root only. HASH is of a name that might be too long for a file's.
//
//	CacheDir/results/NETWORK-CONTAINER-IFNAME  a Record: libcni's cache, with a key of Seam's own
//	RunDir/journal/HASH                        of a container: its lock, and the intent in flight
//	RunDir/journal/HASH.HASH.failed            of a container and an attachment: an intent that could not be undone
//	RunDir/networks/HASH                       of a network: its lock
//
// To debug: set Runtime.Trace to see each plugin call with its time, those of
// delegates included; read the journal, one JSON object a line, to see what is in
// flight or stuck; /proc/locks shows who holds a lock (OFDLCK, by inode).
package seam
