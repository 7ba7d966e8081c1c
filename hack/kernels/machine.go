package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// The PCI addresses of two network cards whose cables end nowhere: one as most are, and
// a virtio one, which sysfs shows one level deeper.
const (
	pciNIC    = "0000:00:05.0"
	virtioNIC = "0000:00:06.0"
)

// A machine is a virtual one.
type machine struct {
	Image image
	Cache string
}

// boot starts the machine with a plan, reports what its console says, and returns when
// it has ended, or when the context has.
func (m machine) boot(ctx context.Context, p plan, out io.Writer, verbose bool) error {
	cmd, err := m.command(ctx, p)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "Linux", m.Image.Version, "in QEMU")
	console, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	var complaints strings.Builder // besides that the network cards lead nowhere
	cmd.Stderr = &complaints
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	r := &report{Out: out, Verbose: verbose, Elapsed: func() time.Duration { return time.Since(begin) }}
	for lines := bufio.NewReader(console); ; {
		line, err := lines.ReadString('\n')
		r.line(line)
		if err != nil { // its end: the machine's is what Wait tells
			break
		}
	}
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		err = fmt.Errorf("machine: stopped: %w", ctx.Err())
	case err != nil:
		err = fmt.Errorf("qemu: %w\n%s", err, complaints.String())
	}
	return errors.Join(err, r.verdict())
}

// shell gives the machine's console to the caller's terminal.
func (m machine) shell(ctx context.Context, p plan) error {
	cmd, err := m.command(ctx, p)
	if err != nil {
		return err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}

// command returns QEMU's command line.
//
// There is one processor: where QEMU emulates two at once, one may still execute an
// instruction that the kernel has patched on the other, and the kernel then dies of
// its own breakpoint ("Oops: int3"). Two were not faster either.
func (m machine) command(ctx context.Context, p plan) (*exec.Cmd, error) {
	content, err := m.Image.initramfs(p)
	if err != nil {
		return nil, err
	}
	initramfs := filepath.Join(m.Cache, "initramfs")
	if err := os.WriteFile(initramfs, content, 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64",
		"-M", "pc", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "2048",
		"-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio",
		"-kernel", m.Image.kernel(), "-initrd", initramfs,
		"-append", "console=ttyS0 oops=panic panic=-1 quiet loglevel=2 mitigations=off",
		"-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap",
		"-device", "virtio-9p-pci,fsdev=host,mount_tag="+mountTag,
		"-device", "e1000,addr=05.0,romfile=",
		"-device", "virtio-net-pci,addr=06.0,romfile=",
	)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd, nil
}
