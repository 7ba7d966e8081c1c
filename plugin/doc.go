// Package plugin is the frame: what the plugins do alike. A plugin that makes an
// interface is a Device, which knows only how that kind of interface is made; the
// frame asks IPAM, sets addresses and routes, reports the result, checks it,
// removes it and collects what nobody owns any more.
//
// Everything made bears the attachment's tag, so Del and GC need no memory: links
// are found by a name derived from the tag or by their alias, firewall elements by
// their records, leases by their owner.
//
// It is not the runtime: a plugin knows one call, never the chain. To debug a
// plugin, call it as the runtime does, with CNI_COMMAND and the configuration on
// standard input, and read what seam show says of the attachment.
package plugin
