package tap

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/plugin"
)

// addLabelled makes a tap that has an SELinux label. The kernel gives a tap the label of
// the process that makes it, and policies let a process of several threads, as every Go
// program is, have another label only by executing a program: so ip makes the tap, the
// one program that this plugin executes, and only for this key.
func addLabelled(c *plugin.Call, t link.Tap, context string) error {
	if _, err := c.Pod.ByName(t.Name); err == nil {
		return fmt.Errorf("add tap %s: %w", t.Name, fs.ErrExist)
	}
	args := []string{"tuntap", "add", "mode", "tap", "name", t.Name}
	if t.MultiQueue {
		args = append(args, "multi_queue")
	}
	if t.Owner != nil {
		args = append(args, "user", strconv.FormatUint(uint64(*t.Owner), 10))
	}
	if t.Group != nil {
		args = append(args, "group", strconv.FormatUint(uint64(*t.Group), 10))
	}
	if err := c.PodNS.Do(func() error { return executeAs(context, "ip", args...) }); err != nil {
		return err
	}
	return c.Pod.Set(link.Link{Name: t.Name}, link.Change{MTU: t.MTU, MAC: t.MAC})
}

// executeAs runs a program that has the label. It must be called on a thread that is
// not given up meanwhile: the label of what is executed next is the thread's.
func executeAs(context, program string, args ...string) error {
	const next = "/proc/thread-self/attr/exec"
	if err := os.WriteFile(next, []byte(context), 0); err != nil {
		return cni.Errorf(cni.CodeInvalidConfig, "selinuxContext %q: %w", context, err).
			WithDetails("either this host has no SELinux, and then the key is to be removed, or its policy knows no such context")
	}
	out, err := exec.Command(program, args...).CombinedOutput()
	if undo := os.WriteFile(next, nil, 0); undo != nil {
		err = errors.Join(err, undo)
	}
	if err != nil {
		return fmt.Errorf("%s %s, as %s: %w: %s", program, strings.Join(args, " "), context, err, strings.TrimSpace(string(out)))
	}
	return nil
}
