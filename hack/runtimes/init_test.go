package runtimes

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/seamnet/seam/netns/netnstest"
	"golang.org/x/sys/unix"
)

// nodeKey is set for the process that runs a node's test.
const nodeKey = "SEAM_TEST_NODE"

// onNode runs the body of a top-level test in network, mount and process namespaces
// of its own. When the test ends, however it does, the kernel ends every process
// that it left: shims and monitors outlive the programs that start them by design.
func onNode(t *testing.T, body func(n *node)) {
	t.Helper()
	netnstest.Host(t, func(t *testing.T) {
		if os.Getenv(nodeKey) != "" {
			body(newNode(t))
			return
		}
		cmd := again()
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS,
			Pdeathsig:  syscall.SIGKILL,
		}
		if err := cmd.Run(); err != nil {
			t.Fatalf("node: %v", err) // what it printed says more
		}
	})
}

// initNode is process 1 of a node: it starts the test and buries who loses his
// parent. It returns the test's exit code.
func initNode() int {
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		fmt.Fprintln(os.Stderr, "mount /proc:", err)
		return 1
	}
	cmd := again()
	cmd.Env = append(os.Environ(), nodeKey+"=1")
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		return 1
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if err == nil && pid == cmd.Process.Pid {
			return status.ExitStatus()
		}
	}
}

// again is this program with the same arguments and output.
func again() *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd
}
