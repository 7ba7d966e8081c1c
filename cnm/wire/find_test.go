package wire

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestFind: the places in the order in which engines look; each case lacks what the one
// before it was found by.
func TestFind(t *testing.T) {
	root := t.TempDir()
	dirs := Dirs{Sockets: filepath.Join(root, "run"), Specs: []string{filepath.Join(root, "etc"), filepath.Join(root, "lib")}}
	socket := func(path string) string {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		stale(t, path)
		return path
	}
	var places, want []string
	for _, path := range candidates(dirs.Sockets, "n", ".sock") {
		places, want = append(places, socket(path)), append(want, "unix://"+path)
	}
	for _, place := range []string{"etc/n.spec", "etc/n/n.spec", "etc/n.json", "etc/n/n.json", "lib/n.spec", "lib/n/n.json"} {
		path, address := filepath.Join(root, place), "unix:///"+strings.ReplaceAll(place, "/", "-")
		text := " " + address + "\n"
		if strings.HasSuffix(place, ".json") {
			text = `{"Name":"other","Addr":"` + address + `"}`
		}
		write(t, path, text)
		places, want = append(places, path), append(want, address)
	}
	for i, place := range places {
		c, err := Find("n", dirs)
		if err != nil {
			t.Fatalf("%s: %v", place, err)
		}
		if c.address != want[i] {
			t.Errorf("found %s, want %s", c.address, want[i])
		}
		if err := os.Remove(place); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Find("n", dirs); !errors.Is(err, ErrNoDriver) || !strings.Contains(err.Error(), "start the driver") {
		t.Errorf("nothing left: %v", err)
	}
}

func TestFindNoName(t *testing.T) {
	for _, name := range []string{"", "../x", "a/b", ".", "a\x00"} {
		if _, err := Find(name, Dirs{Sockets: t.TempDir()}); !errors.Is(err, ErrNoDriver) {
			t.Errorf("%q: %v, want %v", name, err, ErrNoDriver)
		}
	}
}

func TestFindBadSpec(t *testing.T) {
	for _, test := range []struct{ file, text, want string }{
		{"n.spec", "", "is no address of a driver"},
		{"n.spec", "/run/x.sock", "is no address of a driver"},
		{"n.spec", "unix://run/x.sock", "is no address of a driver"},
		{"n.spec", "tcp://192.0.2.1", "is no address of a driver"},
		{"n.spec", "npipe://x", "is no address of a driver"},
		{"n.spec", "tcp://%zz", "invalid URL escape"},
		{"n.json", "{", "unexpected end"},
		{"n.json", `{"Addr":""}`, "is no address of a driver"},
		{"n.json", `{"Addr":"https://x:1","TLSConfig":{"CAFile":"/nowhere/ca.pem"}}`, "TLSConfig: open /nowhere/ca.pem"},
		{"n.json", `{"Addr":"https://x:1","TLSConfig":{"CertFile":"/nowhere/c.pem"}}`, "TLSConfig: open"},
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, test.file), test.text)
		_, err := Find("n", Dirs{Sockets: dir, Specs: []string{dir}})
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), test.file) {
			t.Errorf("%s %q: %v, want %q", test.file, test.text, err, test.want)
		}
	}
}

func TestDefaultDirs(t *testing.T) {
	want := Dirs{"/run/docker/plugins", []string{"/etc/docker/plugins", "/usr/lib/docker/plugins"}}
	if diff := cmp.Diff(want, DefaultDirs()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOverTCP(t *testing.T) {
	server := httptest.NewServer(&Server{Driver: hearing(nil)})
	defer server.Close()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "n.spec"), "tcp://"+server.Listener.Addr().String())
	c, err := Find("n", Dirs{Sockets: dir, Specs: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Implements(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"NetworkDriver"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestOverTLS: the server is known by its CA, and the client by its certificate.
func TestOverTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := certificate(t, dir)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AddCert(pair.Leaf)
	server := httptest.NewUnstartedServer(&Server{Driver: hearing(nil)})
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}
	server.StartTLS()
	defer server.Close()
	other, _ := certificate(t, t.TempDir())
	for _, test := range []struct {
		name string
		form tlsForm
		ok   bool
	}{
		{"all", tlsForm{CAFile: cert, CertFile: cert, KeyFile: key}, true},
		{"trusts anyone", tlsForm{CertFile: cert, KeyFile: key}, true},
		{"trusts anyone although", tlsForm{CAFile: other, CertFile: cert, KeyFile: key, InsecureSkipVerify: true}, true},
		{"trusts another", tlsForm{CAFile: other, CertFile: cert, KeyFile: key}, false},
		{"is nobody", tlsForm{CAFile: cert}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			text, err := json.Marshal(map[string]any{"Addr": "https://" + server.Listener.Addr().String(), "TLSConfig": test.form})
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, "n.json"), string(text))
			c, err := Find("n", Dirs{Sockets: dir, Specs: []string{dir}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Implements(t.Context()); (err == nil) != test.ok {
				t.Errorf("%v, want success %v", err, test.ok)
			}
		})
	}
}

// certificate writes one that signed itself, and its key.
func certificate(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: dir},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write(t, cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
	return cert, key
}
