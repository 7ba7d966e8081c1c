package wire

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// Dirs are the folders where drivers are found by name.
type Dirs struct {
	Sockets string   // of NAME.sock and NAME/NAME.sock
	Specs   []string // of NAME.spec, NAME.json and these in a folder NAME; the first counts
}

// DefaultDirs are the engines'.
func DefaultDirs() Dirs {
	return Dirs{
		Sockets: "/run/docker/plugins",
		Specs:   []string{"/etc/docker/plugins", "/usr/lib/docker/plugins"},
	}
}

// Find returns the driver of that name. It asks it nothing: a socket that is there may
// refuse. Without any the error is ErrNoDriver. A plugin that the engine manages itself
// (docker plugin install) has its socket elsewhere, and is not found.
func Find(name string, dirs Dirs) (*Client, error) {
	if name == "" || name[0] == '.' || strings.ContainsAny(name, "/\x00") {
		return nil, fmt.Errorf("driver %q: is no name of a driver: %w", name, ErrNoDriver)
	}
	for _, path := range candidates(dirs.Sockets, name, ".sock") {
		if st, err := os.Stat(path); err == nil && st.Mode().Type() == fs.ModeSocket {
			return newClient(name, "unix://"+path, nil)
		}
	}
	for _, dir := range dirs.Specs {
		for _, path := range append(candidates(dir, name, ".spec"), candidates(dir, name, ".json")...) {
			data, err := os.ReadFile(path)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("driver %s: %w", name, err)
			}
			c, err := fromSpec(name, path, data)
			if err != nil {
				return nil, fmt.Errorf("driver %s: %s: %w", name, path, err)
			}
			return c, nil
		}
	}
	return nil, fmt.Errorf("driver %s: no socket %s and no file of its name in %s; start the driver, or correct the name: %w",
		name, filepath.Join(dirs.Sockets, name+".sock"), strings.Join(dirs.Specs, " or "), ErrNoDriver)
}

func candidates(dir, name, ext string) []string {
	return []string{filepath.Join(dir, name+ext), filepath.Join(dir, name, name+ext)}
}

// fromSpec reads a .spec, which is an address alone, or a .json.
func fromSpec(name, path string, data []byte) (*Client, error) {
	if filepath.Ext(path) == ".spec" {
		return newClient(name, strings.TrimSpace(string(data)), nil)
	}
	var spec struct {
		Addr      string
		TLSConfig *tlsForm
	}
	if err := json.Unmarshal(data, &spec); err != nil {
		return nil, err
	}
	if spec.TLSConfig == nil {
		return newClient(name, spec.Addr, nil)
	}
	config, err := spec.TLSConfig.value()
	if err != nil {
		return nil, fmt.Errorf("TLSConfig: %w", err)
	}
	return newClient(name, spec.Addr, config)
}

// A tlsForm is TLSConfig of a .json.
type tlsForm struct {
	CAFile, CertFile, KeyFile string
	InsecureSkipVerify        bool
}

// value trusts anyone if no CAFile is named, as engines do.
func (f *tlsForm) value() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: f.InsecureSkipVerify || f.CAFile == ""}
	if f.CAFile != "" {
		pem, err := os.ReadFile(f.CAFile)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: has no certificate", f.CAFile)
		}
	}
	if f.CertFile != "" || f.KeyFile != "" {
		pair, err := tls.LoadX509KeyPair(f.CertFile, f.KeyFile)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// parseAddress returns how to reach what engines write as unix://PATH, tcp://HOST:PORT
// (which is never encrypted), http://HOST:PORT or https://HOST:PORT.
func parseAddress(text string) (network, address, base string, err error) {
	u, err := url.Parse(text)
	if err != nil {
		return "", "", "", err
	}
	switch {
	case u.Scheme == "unix" && u.Path != "" && u.Host == "":
		return "unix", u.Path, "http://driver", nil
	case (u.Scheme == "tcp" || u.Scheme == "http") && u.Port() != "":
		return "tcp", u.Host, "http://" + u.Host, nil
	case u.Scheme == "https" && u.Hostname() != "" && u.Port() == "":
		return "tcp", u.Host + ":443", "https://" + u.Host, nil
	case u.Scheme == "https" && u.Port() != "":
		return "tcp", u.Host, "https://" + u.Host, nil
	}
	return "", "", "", fmt.Errorf("%q is no address of a driver: unix://PATH, tcp://HOST:PORT or https://HOST:PORT", text)
}
