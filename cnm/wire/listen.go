package wire

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// answerTimeout is how long a socket that is there may take to accept.
const answerTimeout = time.Second

// Listen makes a socket at path that root alone can call, and the folder it is in. A
// socket that nobody listens on is replaced; one that is served is an error, which is
// fs.ErrExist. Closing the listener removes the socket.
func Listen(path string) (net.Listener, error) {
	l, err := listen(path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return l, nil
}

func listen(path string) (net.Listener, error) {
	if most := len(unix.RawSockaddrUnix{}.Path) - 1; len(path) > most {
		return nil, fmt.Errorf("path of a socket is longer than %d bytes", most)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	// Between looking and replacing nobody else may do the same.
	folder, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	if err := unix.Flock(int(folder.Fd()), unix.LOCK_EX); err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// removeStale removes a socket that refuses.
func removeStale(path string) error {
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case st.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("what is there is no socket: %w", fs.ErrExist)
	}
	c, err := net.DialTimeout("unix", path, answerTimeout)
	switch {
	case err == nil:
		c.Close()
		return fmt.Errorf("another process serves it; find it with ss -xlp: %w", fs.ErrExist)
	case !errors.Is(err, unix.ECONNREFUSED):
		return fmt.Errorf("cannot tell whether it is served: %w", err)
	}
	return os.Remove(path)
}
