package main

import (
	"crypto/sha512"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/netns"
)

// namedNamespaces is where "ip netns add" mounts namespaces.
const namedNamespaces = "/run/netns"

// namespacePath returns the path of the namespace that a person names: a path,
// "pid:N", a name in /run/netns, or a process ID. It need not exist.
func namespacePath(arg string) (string, error) {
	if pid, ok := strings.CutPrefix(arg, "pid:"); ok {
		n, err := strconv.ParseUint(pid, 10, 31)
		if err != nil || n == 0 {
			return "", usage("namespace %q: pid: is followed by a process ID", arg)
		}
		return fmt.Sprintf("/proc/%d/ns/net", n), nil
	}
	switch {
	case arg == "":
		return "", usage("the namespace is empty: give a path, a name in %s or pid:N", namedNamespaces)
	case strings.Contains(arg, "/"):
		return filepath.Abs(arg)
	}
	named := filepath.Join(namedNamespaces, arg)
	if exists(named) {
		return named, nil
	}
	if _, err := strconv.ParseUint(arg, 10, 31); err == nil {
		return fmt.Sprintf("/proc/%s/ns/net", arg), nil
	}
	if exists(arg) {
		return filepath.Abs(arg)
	}
	return named, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// mustBeNamespace reports why no container can be attached there.
func mustBeNamespace(path string) error {
	ns, err := netns.Open(path)
	if err == nil {
		return ns.Close()
	}
	f := &failure{err: cni.Errorf(cni.CodeInvalidNetNS, "%w", err)}
	if errors.Is(err, fs.ErrNotExist) {
		f.exit, f.next = exitNotFound, "ip netns add NAME makes a namespace /run/netns/NAME; pid:N names a process's"
	}
	return f
}

// namespaceName is what people call a namespace that has a name, or "".
func namespaceName(path string) string {
	if filepath.Dir(path) != namedNamespaces {
		return ""
	}
	return filepath.Base(path)
}

// derivedID is the container ID that cnitool gives to a namespace, so that both
// programs mean the same attachment.
func derivedID(netNS string) string {
	sum := sha512.Sum512([]byte(netNS))
	return fmt.Sprintf("cnitool-%x", sum[:10])
}
