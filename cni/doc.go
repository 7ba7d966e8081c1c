// Package cni is the vocabulary of the Container Network Interface: what an
// attachment is, what a plugin is asked, and what it answers.
//
// It holds no input or output of its own. The JSON forms of the specification's
// versions, the environment variables and the execution of plugins are in
// cni/wire; the order in which plugins of a network run is the root package's.
//
// A plugin is a value with five methods (see Plugin). Whether that value is
// linked in or stands for an executable, its caller cannot tell. To debug what a
// plugin was asked, print the Request: it is all that a plugin may know.
package cni
