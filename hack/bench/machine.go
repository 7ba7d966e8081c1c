package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// A Machine is what figures are worth nothing without.
type Machine struct {
	CPU      string
	CPUs     int
	Memory   string
	Kernel   string
	Go       string
	IPTables string
}

func thisMachine() Machine {
	m := Machine{CPU: "unknown", CPUs: runtime.NumCPU(), Go: runtime.Version(), Kernel: "unknown", IPTables: "none"}
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.Memory = fmt.Sprintf("%d GiB", uint64(info.Totalram)*uint64(info.Unit)>>30)
	}
	if out, err := exec.Command("iptables", "--version").Output(); err == nil {
		m.IPTables = strings.TrimSpace(strings.TrimPrefix(string(out), "iptables "))
	}
	return m
}
