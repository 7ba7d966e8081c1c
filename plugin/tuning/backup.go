package tuning

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/link"
	"github.com/seamnet/seam/state"
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

// of reports whether the backup is the attachment's, as far as can be told: of the
// reference plugin's it is not said.
func (b *backup) of(a cni.Attachment) bool { return b.Network == "" || b.Network == a.Network }

// save writes the attachment's backup.
func save(dir string, a cni.Attachment, b backup) error {
	file := filepath.Join(dir, fileName(a))
	b.Network = a.Network
	was, err := state.Read[backup](file)
	if err != nil && !errors.Is(err, state.ErrUnreadable) {
		return err
	}
	if was != nil && was.Network == a.Network {
		b = b.earlier(*was)
	}
	text, err := json.MarshalIndent(b, "", " ")
	if err != nil {
		return err
	}
	return state.WriteText(file, text)
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
		if !strings.HasSuffix(e.Name(), suffix) || keep[e.Name()] {
			continue
		}
		file := filepath.Join(dir, e.Name())
		// What cannot be read is not known to be anyone's.
		if b, err := state.Read[backup](file); err == nil && b != nil && b.Network == network {
			errs = append(errs, state.Remove(file))
		}
	}
	return errors.Join(errs...)
}
