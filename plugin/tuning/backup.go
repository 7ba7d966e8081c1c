package tuning

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
)

// A backup is what an attachment's interface was like before. Its keys are those of the
// reference plugin's file, which either plugin can restore from, and two more.
type backup struct {
	MAC      string `json:"mac,omitempty"`
	Promisc  *bool  `json:"promisc,omitempty"`
	MTU      int    `json:"mtu,omitempty"`
	Allmulti *bool  `json:"allmulti,omitempty"`
	TxQLen   *int   `json:"txQLen,omitempty"`

	Network string            `json:"network,omitempty"`
	Sysctl  map[string]string `json:"sysctl,omitempty"` // by path below /proc/sys/net
}

// before returns what of a link a tuning will change.
func before(l link.Link, t link.Tuning) backup {
	var b backup
	if t.MAC != nil {
		b.MAC = l.MAC.String()
	}
	if t.MTU != 0 {
		b.MTU = l.MTU
	}
	if t.Promisc != nil {
		b.Promisc = &l.Promisc
	}
	if t.Allmulti != nil {
		b.Allmulti = &l.Allmulti
	}
	if t.TxQLen != nil {
		b.TxQLen = &l.TxQLen
	}
	return b
}

// tuning is the way back.
func (b backup) tuning() (link.Tuning, error) {
	t := link.Tuning{MTU: b.MTU, Promisc: b.Promisc, Allmulti: b.Allmulti, TxQLen: b.TxQLen}
	if b.MAC == "" {
		return t, nil
	}
	var err error
	t.MAC, err = net.ParseMAC(b.MAC)
	return t, err
}

// earlier adds what an earlier backup of the same attachment knows: it is what was there
// before the chain's first change.
func (b backup) earlier(was backup) backup {
	if was.MAC != "" {
		b.MAC = was.MAC
	}
	if was.MTU != 0 {
		b.MTU = was.MTU
	}
	if was.Promisc != nil {
		b.Promisc = was.Promisc
	}
	if was.Allmulti != nil {
		b.Allmulti = was.Allmulti
	}
	if was.TxQLen != nil {
		b.TxQLen = was.TxQLen
	}
	for key, value := range was.Sysctl {
		if b.Sysctl == nil {
			b.Sysctl = make(map[string]string)
		}
		b.Sysctl[key] = value
	}
	return b
}

const suffix = ".json"

// fileName is the reference plugin's, which leaves the network out.
func fileName(a cni.Attachment) string { return a.ContainerID + "_" + a.IfName + suffix }

// load reads the attachment's backup. For one that is not there, or is of another
// network's attachment, the error matches fs.ErrNotExist.
func load(dir string, a cni.Attachment) (backup, error) {
	b, err := read(filepath.Join(dir, fileName(a)))
	if err == nil && b.Network != "" && b.Network != a.Network {
		return backup{}, fmt.Errorf("backup %s: of network %s: %w", fileName(a), b.Network, fs.ErrNotExist)
	}
	return b, err
}

func read(file string) (b backup, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return b, err
	}
	if err := json.Unmarshal(data, &b); err != nil {
		return b, fmt.Errorf("backup %s: %w", file, err)
	}
	return b, nil
}

// save writes the attachment's backup, whole.
func save(dir string, a cni.Attachment, b backup) error {
	b.Network = a.Network
	if was, err := load(dir, a); err == nil && was.Network == a.Network {
		b = b.earlier(was)
	}
	data, err := json.MarshalIndent(b, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	file := filepath.Join(dir, fileName(a))
	if err := os.WriteFile(file+".tmp", data, 0o600); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if err := os.Rename(file+".tmp", file); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}

// drop removes the attachment's backup, and what a killed save left.
func drop(dir string, a cni.Attachment) error {
	var errs []error
	for _, file := range []string{fileName(a), fileName(a) + ".tmp"} {
		if err := os.Remove(filepath.Join(dir, file)); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// retain removes the backups of the network's attachments that are not valid. Those of
// the reference plugin do not say whose they are, and stay.
func retain(dir, network string, valid []cni.Attachment) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	keep := make(map[string]bool, len(valid))
	for _, a := range valid {
		keep[fileName(a)] = true
	}
	errs := []error{err}
	for _, e := range entries {
		name, _ := strings.CutSuffix(e.Name(), ".tmp")
		if !strings.HasSuffix(name, suffix) || keep[name] {
			continue
		}
		// What cannot be read is not known to be anyone's.
		if b, err := read(filepath.Join(dir, e.Name())); err == nil && b.Network == network {
			errs = append(errs, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}
