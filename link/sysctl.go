package link

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Sysctl is a setting below /proc/sys/net by its path there, such as
// "ipv4/conf/eth0/arp_notify". It is of the calling thread's namespace: wrap calls
// for another one in netns.Namespace.Do.
type Sysctl string

func (s Sysctl) path() string { return filepath.Join("/proc/sys/net", string(s)) }

// Get returns the value. A setting that this kernel lacks matches fs.ErrNotExist.
func (s Sysctl) Get() (string, error) {
	f, err := s.open(unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return "", fmt.Errorf("sysctl: %w", err)
	}
	return string(bytes.TrimSpace(b)), nil
}

// Set writes the value unless it is there already: reading is cheaper, and on some
// hosts all that is allowed.
func (s Sysctl) Set(value string) error {
	if was, err := s.Get(); err != nil || was == value {
		return err
	}
	return s.Write(value)
}

// Write writes the value. A setting that this kernel lacks matches fs.ErrNotExist.
func (s Sysctl) Write(value string) error {
	f, err := s.open(unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteString(value); err != nil {
		return fmt.Errorf("sysctl: %w", err)
	}
	return nil
}

// open opens the setting's file. os.Open would give it to the Go runtime's poller, as
// settings can be polled, and that would wake a thread.
func (s Sysctl) open(how int) (*os.File, error) {
	fd, err := unix.Open(s.path(), how|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("sysctl: %w", &fs.PathError{Op: "open", Path: s.path(), Err: err})
	}
	return os.NewFile(uintptr(fd), s.path()), nil
}
