package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/seamnet/seam/cnm/wire"
)

// firstFD is the first file that systemd hands over (sd_listen_fds(3)).
const firstFD = 3

// listen takes the socket that systemd hands over, or makes it.
func (c *cli) listen(path string) (net.Listener, error) {
	if c.getenv("LISTEN_PID") != strconv.Itoa(c.pid) {
		l, err := wire.Listen(path)
		if errors.Is(err, fs.ErrExist) {
			return nil, hint(err, "a driver runs already: stop it (systemctl stop seamd.socket seamd.service), or choose another --name")
		}
		return l, err
	}
	if n := c.getenv("LISTEN_FDS"); n != "1" {
		return nil, fmt.Errorf("socket activation: LISTEN_FDS is %q: one socket is wanted", n)
	}
	f := os.NewFile(firstFD, "LISTEN_FDS")
	if f == nil {
		return nil, fmt.Errorf("socket activation: %w", fs.ErrInvalid)
	}
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("socket activation: %w", err)
	}
	return l, nil
}

// notify tells systemd of a state, if it wants to know (sd_notify(3)).
func (c *cli) notify(state string) error {
	path := c.getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(state)); err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	return nil
}

// States of sd_notify(3).
const (
	ready    = "READY=1"
	stopping = "STOPPING=1"
)

// isTaken reports whether an address is another program's.
func isTaken(err error) bool { return errors.Is(err, unix.EADDRINUSE) || errors.Is(err, fs.ErrExist) }
