package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What the machine says to the report, at the beginning of a line of the console.
const (
	markReady = "\x01ready"
	markBegin = "\x01begin" // a package
	markEnd   = "\x01end"   // a package, its seconds, "ok" or what became of it
	markDone  = "\x01done"
	markLost  = "\x01lost" // why
)

const mountTag = "host"

// inside is the machine's PID 1: it makes a root, carries out the plan and turns the
// machine off.
func inside() {
	if err := carryOut(); err != nil {
		fmt.Println(markLost, err)
	}
	unix.Sync()
	unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) // with -no-reboot, QEMU ends
}

func carryOut() error {
	var p plan
	text, err := os.ReadFile("/" + planFile)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return err
	}
	if err := loadModules(p.Modules); err != nil {
		return err
	}
	if err := enterRoot(p.Tree); err != nil {
		return err
	}
	for _, e := range p.Env {
		name, value, _ := strings.Cut(e, "=")
		os.Setenv(name, value)
	}
	if p.Shell != "" {
		runShell(p.Shell)
		return nil
	}
	fmt.Println(markReady)
	for _, r := range p.Runs {
		r.carryOut()
	}
	fmt.Println(markDone)
	return nil
}

func loadModules(files []string) error {
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		flags := 0
		if filepath.Ext(file) != ".ko" {
			flags = unix.MODULE_INIT_COMPRESSED_FILE
		}
		err = unix.FinitModule(int(f.Fd()), "", flags)
		f.Close()
		if err != nil {
			return fmt.Errorf("load %s: %w", file, err)
		}
	}
	return nil
}

type mount struct {
	source, target, kind string
	flags                uintptr
	options              string
}

func (m mount) do() error {
	if err := os.MkdirAll(m.target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(m.source, m.target, m.kind, m.flags, m.options); err != nil {
		return fmt.Errorf("mount %s at %s: %w", m.kind, m.target, err)
	}
	return nil
}

// enterRoot makes the host's files under a tmpfs the root, of this process itself: the
// kernel starts modprobe in the root of PID 1.
func enterRoot(tree string) error {
	for _, m := range []mount{
		{mountTag, "/host", "9p", unix.MS_RDONLY, "trans=virtio,version=9p2000.L,msize=512000,cache=loose"},
		{"tmpfs", "/over", "tmpfs", 0, "mode=755"},
	} {
		if err := m.do(); err != nil {
			return err
		}
	}
	if err := errors.Join(os.Mkdir("/over/upper", 0o755), os.Mkdir("/over/work", 0o755)); err != nil {
		return err
	}
	if err := (mount{"overlay", "/new", "overlay", 0, "lowerdir=/host,upperdir=/over/upper,workdir=/over/work"}).do(); err != nil {
		return err
	}
	if err := errors.Join(unix.Chroot("/new"), os.Chdir("/")); err != nil {
		return fmt.Errorf("enter the root: %w", err)
	}
	for _, m := range []mount{
		{"proc", "/proc", "proc", 0, ""},
		{"sysfs", "/sys", "sysfs", 0, ""},
		{"cgroup2", "/sys/fs/cgroup", "cgroup2", 0, ""},
		{"devtmpfs", "/dev", "devtmpfs", 0, ""},
		{"devpts", "/dev/pts", "devpts", 0, ""},
		{"tmpfs", "/run", "tmpfs", 0, "mode=755"},
		{tree, "/lib/modules", "", unix.MS_BIND, ""},
	} {
		if err := m.do(); err != nil {
			return err
		}
	}
	// What udev makes elsewhere.
	return errors.Join(os.Symlink("/proc/self/fd", "/dev/fd"), os.Symlink("fd/0", "/dev/stdin"),
		os.Symlink("fd/1", "/dev/stdout"), os.Symlink("fd/2", "/dev/stderr"))
}

func runShell(dir string) {
	cmd := exec.Command("/bin/sh", "-i")
	cmd.Dir = dir
	cmd.Stdin = os.Stdin
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	await(cmd)
}

// carryOut runs one package's tests, and says how they ended.
func (r testRun) carryOut() {
	fmt.Println(markBegin, r.Package)
	start := time.Now()
	cmd := exec.Command(r.Binary, r.Args...)
	cmd.Dir = r.Dir
	outcome := await(cmd)
	fmt.Printf("%s %s %.1f %s\n", markEnd, r.Package, time.Since(start).Seconds(), outcome)
}

// await runs a program on the console and says what became of it: "ok" if all is well.
// It also buries the dead whose parents are, as is PID 1's duty.
func await(cmd *exec.Cmd) string {
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
	if err := cmd.Start(); err != nil {
		return err.Error()
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return err.Error()
		case pid != cmd.Process.Pid:
		case status.Signaled():
			return "killed by " + status.Signal().String()
		case status.ExitStatus() != 0:
			return fmt.Sprintf("exit status %d", status.ExitStatus())
		default:
			return "ok"
		}
	}
}
