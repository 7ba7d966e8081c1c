package seam

import (
	"encoding/json"
	"path/filepath"
	"time"

	"github.com/seamnet/seam/cni"
)

// DefaultCacheDir is where libcni keeps its cache unless told otherwise, and so
// where the attachments of most runtimes are found.
const DefaultCacheDir = "/var/lib/cni"

// DefaultRunDir is where Seam keeps what must not outlive the kernel.
const DefaultRunDir = "/run/seam"

// DefaultTimeout bounds a plugin call that Runtime.Timeout does not bound.
const DefaultTimeout = time.Minute

// A Runtime runs the plugins of networks. Its methods may be called concurrently,
// and by any number of processes with the same CacheDir: operations on different
// containers do not wait for each other. The fields are not to be changed after
// the first call.
type Runtime struct {
	Plugins  cni.Finder       // required; cni/wire has one that finds executables as well
	CacheDir string           // of records; empty: DefaultCacheDir. Made when missing, mode 0700
	Timeout  time.Duration    // of each plugin call of a chain; 0: DefaultTimeout
	Trace    func(Step)       // called after each plugin call, where it was made; nil: not
	Now      func() time.Time // nil: time.Now

	// RunDir is the folder of locks and of intents of operations in flight. All
	// processes with one CacheDir must have the same. It should be on a tmpfs, which is
	// fast and forgets, as the kernel does, when the host restarts. Empty: DefaultRunDir
	// for the CacheDir DefaultCacheDir, and the folder "seam" in any other.
	RunDir string

	// OwnNetNS lets a container share the runtime's own network namespace, which is
	// otherwise refused: plugins would rename and delete the host's interfaces.
	OwnNetNS bool
}

// A Container is what is to be attached, or was.
type Container struct {
	ID     string // letters, digits, '_', '.' and '-'
	IfName string // the interface inside, at most 15 bytes
	NetNS  string // path of its network namespace. On Detach it may be empty or lead nowhere
	Name   string // what people call the container, for its record; may be empty

	Args cni.Args // CNI_ARGS, seen by all plugins

	// Capabilities are values by name (cni.CapabilityPorts and so on); each reaches
	// the plugins that set that capability to true in their configuration.
	Capabilities map[string]json.RawMessage
}

// Attachment returns the attachment of the container to the named network.
func (c *Container) Attachment(network string) cni.Attachment {
	return cni.Attachment{Network: network, ContainerID: c.ID, IfName: c.IfName}
}

func (rt *Runtime) now() time.Time {
	if rt.Now != nil {
		return rt.Now()
	}
	return time.Now()
}

func (rt *Runtime) timeout() time.Duration {
	if rt.Timeout > 0 {
		return rt.Timeout
	}
	return DefaultTimeout
}

func (rt *Runtime) cacheDir() string {
	if rt.CacheDir != "" {
		return filepath.Clean(rt.CacheDir)
	}
	return DefaultCacheDir
}

func (rt *Runtime) runDir() string {
	switch dir := rt.cacheDir(); {
	case rt.RunDir != "":
		return rt.RunDir
	case dir == DefaultCacheDir:
		return DefaultRunDir
	default:
		return filepath.Join(dir, "seam")
	}
}

// journalDir is the folder of containers' locks and intents.
func (rt *Runtime) journalDir() string { return filepath.Join(rt.runDir(), "journal") }

// networkFile returns the path of a network's lock.
func (rt *Runtime) networkFile(network string) string {
	return filepath.Join(rt.runDir(), "networks", cni.Tag(network).Hash(hashDigits))
}

// hashDigits is how much of a hash stands for a name: enough that two names never
// share it.
const hashDigits = 24
