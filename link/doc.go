// Package link is the door to the kernel's network devices: links, addresses,
// routes, bridge ports, tracked connections and the settings below /proc/sys/net,
// in the words of ip(8) and bridge(8).
//
// A Handle is a netlink socket that stays in the namespace where it was opened,
// so handles are passed around and threads are not moved. It is safe for
// concurrent use. Nothing here decides what a network should look like: that is
// the plugins' work. The firewall is in package nft.
//
// Errors read "op subject: cause", and end with the kernel's own reason where it gives
// one; a link, address or route that is missing matches fs.ErrNotExist, one that is there
// already fs.ErrExist. To see what is asked of the kernel: ip monitor all, or strace -e
// trace=sendto,recvfrom.
package link
