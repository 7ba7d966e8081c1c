// Package ipam says which address is next: ranges of addresses, sets of ranges,
// and pools that give addresses out in turn. It is pure: values in, values out.
//
// It does not remember anything. Where leases are written, and what locks them,
// is the caller's: Set.Take asks a function whether an address is free, so that a
// caller with a folder of leases need not list it; a Pool is the same with a map.
//
// To see what a configuration came to, print the Set: ranges read FIRST-LAST, in
// the order in which they are used.
package ipam
