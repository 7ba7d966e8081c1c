package runtimes

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

const (
	image = "localhost/bb:1"    // busybox, with a web server in /www
	pause = "localhost/pause:1" // what keeps a pod's namespaces
)

// whoami answers with the container's name and the address that the question is from.
const whoami = `#!/bin/sh
from=${REMOTE_ADDR#[}
from=${from#::ffff:} # of [::ffff:192.0.2.9]
printf 'Content-Type: text/plain\r\n\r\n%s asked by %s' "$NAME" "${from%]}"
`

// applets are the programs that containers have; all are busybox.
var applets = []string{"cat", "httpd", "ip", "nc", "printf", "sh", "sleep", "true", "wget"}

// images writes both images to a file, in the form of "docker save".
func (n *node) images() string {
	n.Helper()
	n.need("busybox")
	program, err := exec.LookPath("busybox")
	n.must(err)
	busybox, err := os.ReadFile(program)
	n.must(err)
	layer := new(archive)
	for _, dir := range []string{"bin", "dev", "etc", "proc", "sys", "tmp", "www", "www/cgi-bin"} {
		layer.add(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}, nil)
	}
	layer.file("bin/busybox", busybox)
	layer.file("www/cgi-bin/whoami", []byte(whoami))
	for _, name := range applets {
		layer.add(&tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + name, Linkname: "busybox"}, nil)
	}

	saved := new(archive)
	data := layer.bytes()
	saved.file("layer.tar", data)
	var manifest []any
	for name, entrypoint := range map[string][]string{image: nil, pause: {"/bin/sleep", "100000"}} {
		config := imageConfig(data, entrypoint)
		file := digest(config) + ".json"
		saved.file(file, config)
		manifest = append(manifest, map[string]any{"Config": file, "RepoTags": []string{name}, "Layers": []string{"layer.tar"}})
	}
	saved.file("manifest.json", encode(manifest))
	return n.write("images.tar", string(saved.bytes()))
}

func imageConfig(layer []byte, entrypoint []string) []byte {
	return encode(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Env": []string{"PATH=/bin"}, "Entrypoint": entrypoint},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + digest(layer)}},
	})
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// encode returns the JSON of a value that has one.
func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

// An archive is a tar file in memory: writing to it cannot fail.
type archive struct {
	buf bytes.Buffer
	tar *tar.Writer
}

func (a *archive) add(h *tar.Header, content []byte) {
	if a.tar == nil {
		a.tar = tar.NewWriter(&a.buf)
	}
	h.Size, h.ModTime = int64(len(content)), time.Unix(0, 0)
	if err := a.tar.WriteHeader(h); err != nil {
		panic(err)
	}
	if _, err := a.tar.Write(content); err != nil {
		panic(err)
	}
}

// file adds a file that may be executed.
func (a *archive) file(name string, content []byte) {
	a.add(&tar.Header{Typeflag: tar.TypeReg, Name: filepath.Clean(name), Mode: 0o755}, content)
}

func (a *archive) bytes() []byte {
	if err := a.tar.Close(); err != nil {
		panic(err)
	}
	return a.buf.Bytes()
}
