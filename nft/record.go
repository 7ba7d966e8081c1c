package nft

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/state"
	"golang.org/x/sys/unix"
)

// An Owner is on whose behalf elements are there: a plugin's work for one
// attachment.
type Owner struct {
	Tag    cni.Tag `json:"tag"`
	Plugin string  `json:"plugin"` // its type: letters, digits and '-'
}

// A Record is what an owner has.
type Record struct {
	Owner
	Elements []Element
}

// records are files, one for each owner, named by what it is. They are not synced:
// they and the kernel's tables end together.
type records struct{ dir string }

const recordSuffix = ".json"

func (r records) path(o Owner) string {
	return filepath.Join(r.dir, tagPart(o.Tag)+"-"+o.Plugin+recordSuffix)
}

func tagPart(tag cni.Tag) string { return tag.Hash(32) }

// errRecord is a record that cannot be understood: cut short by a power failure
// where dir is no tmpfs, or of a later version.
var errRecord = errors.New("not readable")

// read returns nil for an owner without a record.
func (r records) read(o Owner) (*Record, error) { return readRecord(r.path(o)) }

func readRecord(path string) (*Record, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("firewall record: %w", err)
	}
	rec, err := decodeRecord(b)
	if err != nil {
		return nil, fmt.Errorf("firewall record %s: %w: %w", path, errRecord, err)
	}
	return rec, nil
}

// lock locks the records, for all processes: unix.LOCK_SH for who drops, from before its
// elements go until its record has gone, unix.LOCK_EX for who restores, so that
// nothing is restored of what is being dropped. Without a folder there is nothing to lock.
func (r records) lock(how int) (unlock func(), err error) {
	fd, err := unix.Open(r.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil
	}
	for err == nil {
		if err = unix.Flock(fd, how); !errors.Is(err, unix.EINTR) {
			break
		}
		err = nil
	}
	if err != nil {
		return func() {}, &fs.PathError{Op: "lock", Path: r.dir, Err: err}
	}
	return func() { unix.Close(fd) }, nil
}

// write replaces the owner's record, whole or not at all.
func (r records) write(rec *Record) error {
	if err := state.Write(r.path(rec.Owner), rec); err != nil {
		return fmt.Errorf("firewall record: %w", err)
	}
	return nil
}

// revert undoes a write: was is the record before it, nil if there was none.
func (r records) revert(o Owner, was *Record) error {
	if was == nil {
		return r.remove(o)
	}
	return r.write(was)
}

// remove removes the owner's record and what a killed write left.
func (r records) remove(o Owner) error {
	if err := state.Remove(r.path(o)); err != nil {
		return fmt.Errorf("firewall record: %w", err)
	}
	return nil
}

// all returns every record that can be read; the error names those that cannot.
func (r records) all() ([]Record, error) { return r.matching("*") }

// of returns the records of one attachment.
func (r records) of(tag cni.Tag) ([]Record, error) { return r.matching(tagPart(tag) + "-*") }

func (r records) matching(pattern string) ([]Record, error) {
	paths, err := filepath.Glob(filepath.Join(r.dir, pattern+recordSuffix))
	if err != nil {
		return nil, fmt.Errorf("firewall records: %w", err)
	}
	var list []Record
	var errs []error
	for _, path := range paths {
		rec, err := readRecord(path)
		if err != nil {
			errs = append(errs, err)
		} else if rec != nil {
			list = append(list, *rec)
		}
	}
	return list, errors.Join(errs...)
}

// stored is an element with its kind as the key.
type stored struct {
	Masquerade *Masquerade `json:"masquerade,omitempty"`
	Forward    *Forward    `json:"forward,omitempty"`
	Hairpin    *Hairpin    `json:"hairpin,omitempty"`
	Guard      *Guard      `json:"guard,omitempty"`
	Wall       *Wall       `json:"wall,omitempty"`
	Isolation  *Isolation  `json:"isolation,omitempty"`
}

func store(e Element) stored {
	switch e := e.(type) {
	case Masquerade:
		return stored{Masquerade: &e}
	case Forward:
		return stored{Forward: &e}
	case Hairpin:
		return stored{Hairpin: &e}
	case Guard:
		return stored{Guard: &e}
	case Wall:
		return stored{Wall: &e}
	case Isolation:
		return stored{Isolation: &e}
	}
	return stored{}
}

func (s stored) element() (Element, error) {
	switch {
	case s.Masquerade != nil:
		return *s.Masquerade, nil
	case s.Forward != nil:
		return *s.Forward, nil
	case s.Hairpin != nil:
		return *s.Hairpin, nil
	case s.Guard != nil:
		return *s.Guard, nil
	case s.Wall != nil:
		return *s.Wall, nil
	case s.Isolation != nil:
		return *s.Isolation, nil
	}
	return nil, errors.New("element of a kind that this version does not know")
}

type storedRecord struct {
	Owner
	Elements []stored `json:"elements"`
}

// MarshalJSON writes the record as its file holds it.
func (r Record) MarshalJSON() ([]byte, error) {
	s := storedRecord{Owner: r.Owner}
	for _, e := range r.Elements {
		s.Elements = append(s.Elements, store(e))
	}
	return json.Marshal(s)
}

// decodeRecord reads what MarshalJSON wrote.
func decodeRecord(b []byte) (*Record, error) {
	var s storedRecord
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, err
	}
	rec := &Record{Owner: s.Owner}
	for _, stored := range s.Elements {
		e, err := stored.element()
		if err == nil {
			err = e.validate()
		}
		if err != nil {
			return nil, err
		}
		rec.Elements = append(rec.Elements, e)
	}
	return rec, nil
}

func (r Record) String() string {
	lines := []string{string(r.Tag) + " " + r.Plugin}
	for _, e := range r.Elements {
		lines = append(lines, "\t"+e.String())
	}
	return strings.Join(lines, "\n")
}
