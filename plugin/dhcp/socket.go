package dhcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/state"
)

// Over the socket go one question and one answer for each connection, both a JSON
// object on a line. Who asks keeps the connection open until it has the answer: that
// it is closed calls the work off.

type verb string

const (
	add    verb = "add"
	check  verb = "check"
	del    verb = "del"
	gc     verb = "gc"
	status verb = "status"
)

type question struct {
	Do verb `json:"do"`
	cni.Attachment
	NetNS     string           `json:"netns,omitempty"`
	Options   options          `json:"options,omitzero"`
	Addresses []netip.Prefix   `json:"addresses,omitempty"` // check: of the result
	Valid     []cni.Attachment `json:"valid,omitempty"`     // gc: what is in use still
}

// stale reports whether a GC finds the attachment of its network to be in use no more.
func (q question) stale(a cni.Attachment) bool {
	if a.Network != q.Network {
		return false
	}
	for _, v := range q.Valid {
		if v.ContainerID == a.ContainerID && v.IfName == a.IfName {
			return false
		}
	}
	return true
}

type answer struct {
	From  string     `json:"from"` // protocol
	Terms *terms     `json:"terms,omitempty"`
	Error *cni.Error `json:"error,omitempty"`
}

// protocol begins every answer of this daemon, and no other's.
const protocol = "seam dhcp 1"

// longestMessage bounds both: a GC names every attachment of a network.
const longestMessage = 4 << 20

var (
	errNoDaemon = errors.New("no daemon listens there")
	errForeign  = errors.New("another program's daemon listens there, the reference plugins' perhaps")
	errCutOff   = errors.New("the daemon ended during the call")
)

// ask puts a question to the daemon at the socket and waits for the answer, at most
// for the given time.
func ask(ctx context.Context, socket string, q question, longest time.Duration) (*terms, error) {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	data, err := exchange(ctx, socket, q)
	if ctx.Err() != nil {
		return nil, cni.Errorf(cni.CodeTryAgain, "ask the daemon at %s: no answer: %w", socket, ctx.Err())
	}
	var a answer
	switch {
	case err != nil:
	case len(data) == 0:
		err = errCutOff
	case json.Unmarshal(data, &a) != nil || a.From != protocol:
		err = errForeign
	}
	if err != nil {
		return nil, cni.Errorf(cni.CodeTryAgain, "ask the daemon at %s: %w", socket, err).
			WithDetails(`start Seam's: "seam dhcp daemon -socketpath %s", or the units of deploy/ for the default socket`, socket)
	}
	if a.Error != nil {
		return nil, a.Error
	}
	if a.Terms == nil {
		a.Terms = new(terms)
	}
	return a.Terms, nil
}

func exchange(ctx context.Context, socket string, q question) ([]byte, error) {
	line, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) || ctx.Err() != nil {
			return nil, err
		}
		return nil, errNoDaemon
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err = conn.Write(append(line, '\n')); err == nil {
		var data []byte
		if data, err = io.ReadAll(io.LimitReader(conn, longestMessage)); err == nil {
			return bytes.TrimSpace(data), nil
		}
	}
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return nil, nil // cut off
	}
	return nil, err
}

// How long undo waits for a daemon that starts or ends.
const (
	undoTime  = 10 * time.Second
	undoPause = 50 * time.Millisecond
)

// undo puts a question to the daemon; while there is none, the records are worked on
// here instead.
func undo(ctx context.Context, socket string, q question, alone func(*book) error) error {
	for end := time.Now().Add(undoTime); ; {
		_, err := ask(ctx, socket, q, longestOther)
		if errors.Is(err, errNoDaemon) || errors.Is(err, errForeign) {
			err = withoutDaemon(socket, alone)
		}
		if !errors.Is(err, errCutOff) && !errors.Is(err, state.ErrLocked) || time.Now().After(end) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(undoPause):
		}
	}
}

func withoutDaemon(socket string, alone func(*book) error) error {
	dir := bookOf(socket)
	if _, err := os.Stat(dir); err != nil {
		return ignoreMissing(err) // no daemon of Seam's was ever there
	}
	b, err := openBook(dir)
	if err != nil {
		return err
	}
	defer b.close()
	return alone(b)
}

// Listen makes the socket at path, and its folder. What a daemon that was killed left
// there is replaced; that another one listens is an error.
func Listen(path string) (net.Listener, error) {
	// Who has the book may replace the socket, and nobody else meanwhile.
	b, err := openBook(bookOf(path))
	if err != nil {
		return nil, err
	}
	defer b.close()
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		return nil, fmt.Errorf("listen at %s: another program's daemon does", path)
	}
	if st, err := os.Lstat(path); err == nil && st.Mode().Type() == fs.ModeSocket {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	// Who may write to it may have any lease released.
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
