// Package engine asks a Docker engine what a driver is not told: which container an
// endpoint is of, what a network is called, and which endpoints there still are.
//
// It is not for driving an engine, and asks only what an engine answers while it waits
// for a driver: about a container itself it does not, so that none is asked for by its ID.
// Nothing of this may be asked from Plugin.Activate and GetCapabilities: that
// stalls an engine which starts.
//
// It speaks the engine's own version of the API, and reads of the answers only what has
// been the same since 1.21 (Docker 1.9): what else is in there, and in which form, is of no
// concern.
//
// To see the same: curl --unix-socket /var/run/docker.sock http://docker/networks
package engine
