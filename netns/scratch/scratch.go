// Package scratch gives a process a host of its own: a network namespace for links,
// routes and firewall, and a mount namespace in which the folders of a host's state are
// empty. What is done there goes away with the process, however that ends, and the host
// that it was started on is not touched.
//
// A process cannot leave its namespaces as a whole once it has threads, so that it takes
// two: Isolate the command of the second, which calls Enter before all else. It is not a
// sandbox: processes, users and all other files are the host's.
//
// To look into one while it runs: nsenter -t PID -n -m.
package scratch

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// Isolate has the command, which is not yet started, run in namespaces of its own. It is
// killed when this process ends. Only root may.
func Isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
	}
}

// StateDirs are the folders in which networks of containers are configured and
// accounted for: what Enter is mostly told to empty.
func StateDirs() []string { return []string{"/run", "/var/lib/cni", "/etc/cni"} }

// Enter makes this process's host one of its own: nothing that is mounted is seen
// outside, the folders, which are made if they are missing, are empty file systems in
// memory, /sys shows this namespace's links, and lo is up.
func Enter(folders ...string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	for _, dir := range folders {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
			return &os.PathError{Op: "mount tmpfs", Path: dir, Err: err}
		}
	}
	// Some machines refuse it; then /sys/class/net shows the links of the real host, which
	// matters to plugins that look for devices there.
	_ = unix.Mount("sysfs", "/sys", "sysfs", 0, "")
	return Up("lo")
}

// Up sets a link of the calling thread's namespace up.
func Up(ifname string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("set %s up: %w", ifname, err)
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq(ifname)
	if err != nil {
		return fmt.Errorf("set %s up: %w", ifname, err)
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr); err != nil {
		return fmt.Errorf("set %s up: %w", ifname, err)
	}
	return nil
}
