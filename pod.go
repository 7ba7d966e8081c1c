package seam

import (
	"bytes"
	"errors"
	"io/fs"
	"os"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns"
	"golang.org/x/sys/unix"
)

// podID tells a network namespace from others that have, or had, its path: a name
// in /run/netns used again, a process ID used again, the host started anew.
type podID struct {
	Boot  string `json:"boot,omitempty"`  // the kernel's boot_id
	Inode uint64 `json:"inode,omitempty"` // unique among the namespaces of that time
}

// identify returns the identity of the namespace at path, and whether it is the
// runtime's own.
func identify(path string) (id podID, own bool, err error) {
	ns, err := netns.Open(path)
	if err != nil {
		return podID{}, false, err
	}
	defer ns.Close()
	current, err := netns.Current()
	if err != nil {
		return podID{}, false, err
	}
	defer current.Close()
	if own, err = ns.Same(current); err != nil {
		return podID{}, false, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(ns.Fd(), &st); err != nil {
		return podID{}, false, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return podID{}, false, err
	}
	return podID{Boot: string(bytes.TrimSpace(boot)), Inode: st.Ino}, own, nil
}

// enterable identifies the namespace that an attachment is to be made in, or says
// with CodeInvalidNetNS why it cannot be.
func (rt *Runtime) enterable(path string) (podID, error) {
	if path == "" {
		return podID{}, cni.Errorf(cni.CodeInvalidEnvironment, "missing path of the network namespace")
	}
	id, own, err := identify(path)
	if err != nil {
		return podID{}, cni.Errorf(cni.CodeInvalidNetNS, "container's %w", err)
	}
	if own && !rt.OwnNetNS {
		return podID{}, ownNetNS(path)
	}
	return id, nil
}

// leavable identifies the namespace that an attachment is to be removed from, which
// need not exist, unless it is the runtime's own.
func (rt *Runtime) leavable(path string) (podID, error) {
	if path == "" {
		return podID{}, nil
	}
	id, own, err := identify(path)
	switch {
	case err != nil:
		return podID{}, nil
	case own && !rt.OwnNetNS:
		return podID{}, ownNetNS(path)
	}
	return id, nil
}

func ownNetNS(path string) error {
	return cni.Errorf(cni.CodeInvalidNetNS, "network namespace %s is the host's own", path).
		WithDetails("a container without a namespace of its own shares the host's network as it is")
}

// gone reports whether the namespace that was at path is there no longer. In doubt
// it is not: an unknown path, or one that may not be read.
func (id podID) gone(path string) bool {
	if path == "" {
		return false
	}
	now, _, err := identify(path)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	return id != podID{} && id != now
}

// podName returns how Kubernetes calls the pod, as its runtimes tell plugins: its
// namespace and its name; empty if they did not.
func podName(args cni.Args) string {
	var namespace, name string
	for _, arg := range args {
		switch arg.Key {
		case "K8S_POD_NAMESPACE":
			namespace = arg.Value
		case "K8S_POD_NAME":
			name = arg.Value
		}
	}
	if namespace == "" || name == "" {
		return name
	}
	return namespace + "/" + name
}
