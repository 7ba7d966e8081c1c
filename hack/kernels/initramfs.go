package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// A plan is what the machine is to do, written into its initramfs.
type plan struct {
	Modules []string  // files in the initramfs, to be loaded in this order
	Tree    string    // this machine's path of what becomes /lib/modules
	Env     []string  // of the tests
	Runs    []testRun // one after the other
	Shell   string    // if not "": only a shell on the console, in this folder
}

const (
	planFile   = "plan.json"
	modulesDir = "modules"
)

// initramfs returns the archive that the kernel starts from: this program as init, the
// plan, and the modules that are needed before there is a root. It is all that is
// there: what the plan names else is on the root.
func (i image) initramfs(p plan) ([]byte, error) {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	p.Tree = i.modules()
	var a archive
	a.dir(modulesDir)
	files, err := i.bootModules()
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		module, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		p.Modules = append(p.Modules, filepath.Join("/", modulesDir, filepath.Base(f)))
		a.file(filepath.Join(modulesDir, filepath.Base(f)), 0o644, module)
	}
	text, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	a.file(planFile, 0o644, text)
	a.file("init", 0o755, self)
	return a.bytes(), nil
}

// An archive is a cpio archive in the form "newc", as the kernel's
// Documentation/driver-api/early-userspace/buffer-format.rst has it.
type archive struct {
	buf   bytes.Buffer
	inode int
}

func (a *archive) dir(name string) { a.entry(name, 0o040755, nil) }

func (a *archive) file(name string, mode int, content []byte) {
	a.entry(name, 0o100000|mode, content)
}

func (a *archive) entry(name string, mode int, content []byte) {
	a.inode++
	fmt.Fprint(&a.buf, "070701")
	// inode, mode, uid, gid, links, time, size, device (4 numbers), name's size, checksum
	for _, n := range []int{a.inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0} {
		fmt.Fprintf(&a.buf, "%08X", n)
	}
	io.WriteString(&a.buf, name+"\x00")
	a.pad()
	a.buf.Write(content)
	a.pad()
}

func (a *archive) pad() {
	for a.buf.Len()%4 != 0 {
		a.buf.WriteByte(0)
	}
}

func (a *archive) bytes() []byte {
	a.entry("TRAILER!!!", 0, nil)
	return a.buf.Bytes()
}
