// Package plugins is the conformance suite for CNI plugins: one in a file of its own or
// built into the program, or a whole chain of them.
//
// Plugins are called as the specification has it, with an environment and a
// configuration on stdin, by the suite itself: what they answer is judged as it stands,
// not as a lenient runtime would read it. What is in process is called through the same
// face (cni/wire). Each check has a host of its own, with a cable to another host outside,
// and namespaces that stand for pods.
//
// To see what a plugin was asked and said, read the notes of the finding.
package plugins
