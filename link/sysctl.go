package link

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// Sysctl is a setting below /proc/sys/net by its path there, such as
// "ipv4/conf/eth0/arp_notify". It is of the calling thread's namespace: wrap calls
// for another one in netns.Namespace.Do.
type Sysctl string

func (s Sysctl) path() string { return filepath.Join("/proc/sys/net", string(s)) }

// Get returns the value. A setting that this kernel lacks matches fs.ErrNotExist.
func (s Sysctl) Get() (string, error) {
	b, err := os.ReadFile(s.path())
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
	f, err := os.OpenFile(s.path(), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("sysctl: %w", err)
	}
	defer f.Close()
	if _, err := f.WriteString(value); err != nil {
		return fmt.Errorf("sysctl: %w", err)
	}
	return nil
}
