// Package nft keeps Seam's nftables tables and is the only door to nftables.
//
// The table "inet seam" has static rules, the same on every host, and maps that
// hold what each attachment wants: whose traffic is masqueraded, which port of the
// host leads where. A plugin call changes elements of maps, not rules, in one
// transaction, and a packet costs one hash lookup instead of a walk along rules.
// Lists of prefixes, and conditions on which a port is forwarded, become chains named
// by a hash of their rules, shared by all who want the same. What grows with the
// number of attachments is the kernel's own check, at each new element that leads to
// a chain, that no chains make a circle: about 0.1 ms for 1,000.
//
// The table "bridge seam" is made when the first interface is guarded against
// forged MAC addresses or isolated from its neighbours; it exists because an inet
// table cannot see bridged frames.
//
// Every element's comment is its attachment's tag, and what each owner has is
// recorded in a file before the kernel is touched, so that elements are found
// again by name and the tables can be restored after someone flushed them.
//
// This is not a general nftables library, and no place for policy: what should be
// masqueraded or forwarded is decided by the plugins. Rules that other programs
// own are left alone, with the one exception of AdmitForward.
//
// To debug: nft list table inet seam shows everything, with tags; nft monitor
// shows transactions; strace -e trace=sendmsg,recvmsg shows how many there are.
package nft
