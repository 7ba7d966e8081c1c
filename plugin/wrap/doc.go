// Package wrap puts commands, and patches of configuration and result, around another
// plugin: the plugin "wrap".
//
// It makes nothing itself and keeps nothing. A wrapper that needs more than this, a
// condition say, is written as a script that is a plugin: see examples/wrap-bridge.sh.
// To see what a command gets, let it be ["/usr/bin/tee", "/tmp/seen"].
package wrap
