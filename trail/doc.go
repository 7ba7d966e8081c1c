// Package trail explains a packet's way through an attachment, step by step: links, bridge
// ports, routes, rules and translations, and what drops it if something does.
//
// It joins two sources. Lookups ask the kernel what it would do with such a packet. A probe,
// a real packet, is watched by the kernel's own tracing of nftables (package nft, Trace),
// which sees the rules of all nftables, iptables-nft's among them, but not those of legacy
// iptables, of tc or of eBPF: where a packet gets lost between two places at which it should
// have been seen, only that is said.
//
// It is not a monitor: one question, one packet, one answer, for people. Nothing is left of
// a trace when it ends. To debug: nft monitor trace shows the same events.
package trail
