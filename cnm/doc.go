// Package cnm is the vocabulary of Docker's Container Network Model: what an engine
// asks of a network driver and of an IPAM driver, and what these answer.
//
// It holds no input or output. The JSON forms, the sockets and the discovery of
// drivers are in cnm/wire; what CNI has to do with it is in docker (Docker asks Seam) and
// in plugin/cnm (Seam asks a Docker driver).
//
// A driver is a value with methods (see Driver and IPAM). Whether it is this process's
// own or stands for one behind a socket, its caller cannot tell.
//
// An engine never asks twice for what went well, ignores the errors of whatever takes
// something away, and calls for different containers at the same time. Every verb that
// takes away is therefore idempotent, and to ask for what there is already, in the same
// words, is answered as the first time.
package cnm
