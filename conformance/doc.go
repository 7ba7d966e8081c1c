// Package conformance says whether something keeps what a specification asks of it: the
// frame of the suites in the rooms below, conformance/plugins for CNI plugins and
// chains of them, and conformance/drivers for Docker's drivers.
//
// A suite is a list of checks. Run carries out each of them in a process of its own, by
// default on a host of its own too (netns/scratch), so that no check sees what another
// left behind, and one that hangs or dies takes no other with it. It needs root, and
// nothing else: no images and no cluster.
//
// It is not a test of Seam alone, and not bound to "go test": any program calls Run,
// provided that its main function begins with Serve.
//
// To debug a check, repeat it alone as its Finding.Repeat says.
package conformance
