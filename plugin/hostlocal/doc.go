// Package hostlocal gives addresses out of ranges and writes down, in files on this
// host, to whom: the plugin "host-local". It can share its folder with the
// reference plugin of that name; either understands what the other wrote.
//
// It is not for networks whose addresses several hosts give out: nothing is agreed
// with anyone. Which address is next is package ipam's business.
//
// To see who holds an address: cat /var/lib/cni/networks/NETWORK/ADDRESS. To see
// what an attachment holds: grep -r CONTAINER there. The folder .seam beside the
// networks is an index of that (see index.go); it may be deleted at any time.
package hostlocal
