package plan

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A folder is a copy of one that plugins write to.
type folder struct {
	path  string // without symbolic links
	files []file // folders before what is in them
}

type file struct {
	path   string // below the folder
	mode   fs.FileMode
	time   time.Time
	data   []byte   // or where a link leads
	handle *os.File // of a namespace that is mounted there
}

// Bounds of what is copied, in bytes and files: state is far below. A configuration may name
// a folder of something else.
const (
	longestFile = 16 << 20
	mostBytes   = 128 << 20
	mostFiles   = 200_000
)

// copyFolders returns the folders with what is in them, those within others left out. One that is
// missing has nothing in it.
func copyFolders(paths []string) ([]folder, error) {
	for i, p := range paths {
		paths[i] = resolve(p)
	}
	slices.Sort(paths)
	var folders []folder
	left := room{mostBytes, mostFiles}
	for _, p := range paths {
		if n := len(folders); n > 0 && (p == folders[n-1].path || strings.HasPrefix(p, folders[n-1].path+"/")) {
			continue
		}
		f := folder{path: p}
		if err := f.read(&left); err != nil {
			return nil, err
		}
		folders = append(folders, f)
	}
	return folders, nil
}

// resolve follows symbolic links as far as the path is there.
func resolve(path string) string {
	path = filepath.Clean(path)
	for rest := ""; path != "/"; path = filepath.Dir(path) {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			return filepath.Join(real, rest)
		}
		rest = filepath.Join(filepath.Base(path), rest)
		if filepath.Dir(path) == "/" {
			return filepath.Join("/", rest)
		}
	}
	return path
}

// room is how much more is copied.
type room struct{ bytes, files int64 }

func (r *room) take(bytes int64, folder string) error {
	if r.bytes, r.files = r.bytes-bytes, r.files-1; r.bytes < 0 || r.files < 0 {
		return fmt.Errorf("folder %s: too large to be copied: keep state, as of dataDir, in a folder of its own", folder)
	}
	return nil
}

// mustBeState refuses folders with files of the kernel, of which some never end.
func mustBeState(paths []string) error {
	for _, p := range paths {
		if p = resolve(p) + "/"; p == "//" || strings.HasPrefix(p, "/proc/") || strings.HasPrefix(p, "/sys/") {
			return fmt.Errorf("folder %s: it is no place for state, as of dataDir: name another one", filepath.Clean(p))
		}
	}
	return nil
}

// read copies the files into memory. What is no file, such as a socket, is left out, and so
// is what goes meanwhile.
func (f *folder) read(left *room) error {
	err := filepath.WalkDir(f.path, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == f.path {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return gone(err)
		}
		c := file{path: strings.TrimPrefix(path, f.path+"/"), mode: info.Mode(), time: info.ModTime()}
		switch {
		case d.IsDir():
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return gone(err)
			}
			c.data = []byte(target)
		case isNamespace(path):
			if c.handle, err = os.Open(path); err != nil {
				return gone(err)
			}
		case d.Type().IsRegular() && info.Size() <= longestFile:
			var idle bool
			if c.data, idle, err = readIdle(path); err != nil || !idle {
				return gone(err)
			}
		default:
			return nil
		}
		f.files = append(f.files, c)
		return left.take(int64(len(c.data)), f.path)
	})
	return gone(err)
}

// readIdle reads a file, unless it is the runtime's journal of an operation that goes on.
// That one is locked, but its copy would not be, and the operation taken for a killed one.
func readIdle(path string) (data []byte, idle bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	journal := filepath.Base(filepath.Dir(path)) == "journal"
	if journal && locked(f) {
		return nil, false, nil
	}
	data, err = io.ReadAll(f)
	return data, !journal || !locked(f), err // it may have begun meanwhile
}

// locked reports whether an operation has the file locked, or has ended and removed it. It
// takes no lock itself: who tries to lock the file would find it busy.
func locked(f *os.File) bool {
	held := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &held); err != nil || held.Type != unix.F_UNLCK {
		return true
	}
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) != nil || st.Nlink == 0
}

func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func isNamespace(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.NSFS_MAGIC
}

// protect makes all that is mounted read-only, but for /proc, by which the namespace is set.
// The process's mounts must be its own.
func protect() error {
	var writable []string
	for _, path := range []string{"/proc", "/proc/sys"} {
		var st unix.Statfs_t
		if err := unix.Statfs(path, &st); err == nil && st.Flags&unix.ST_RDONLY == 0 {
			writable = append(writable, path)
		}
	}
	err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	if errors.Is(err, unix.ENOSYS) {
		return errors.New("make mounts read-only: this kernel cannot do it at once; Linux 5.12 and later can")
	}
	if err != nil {
		return fmt.Errorf("make mounts read-only: %w", err)
	}
	for _, path := range writable {
		err := unix.MountSetattr(unix.AT_FDCWD, path, 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY})
		if err != nil && !errors.Is(err, unix.EINVAL) { // of another mount, which is writable by now
			return &fs.PathError{Op: "make writable", Path: path, Err: err}
		}
	}
	return nil
}

// mount puts the copy in the folder's place, which may be written to.
func (f *folder) mount() error {
	if err := makeFolder(f.path); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", f.path, "tmpfs", 0, "mode=755"); err != nil {
		return &fs.PathError{Op: "mount tmpfs", Path: f.path, Err: err}
	}
	for _, c := range f.files {
		if err := c.write(filepath.Join(f.path, c.path)); err != nil {
			return err
		}
	}
	return nil
}

func (c *file) write(path string) error {
	switch {
	case c.mode.IsDir():
		return os.Mkdir(path, c.mode.Perm())
	case c.mode.Type() == fs.ModeSymlink:
		return os.Symlink(string(c.data), path)
	case c.handle != nil:
		defer c.handle.Close()
		if err := os.WriteFile(path, nil, 0o400); err != nil {
			return err
		}
		return bind(fmt.Sprintf("/proc/self/fd/%d", c.handle.Fd()), path)
	}
	if err := os.WriteFile(path, c.data, c.mode.Perm()); err != nil {
		return err
	}
	return os.Chtimes(path, c.time, c.time)
}

func bind(from, to string) error {
	if err := unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return &fs.PathError{Op: "bind " + from + " to", Path: to, Err: err}
	}
	return nil
}

// makeFolder makes a folder that the host may not have, and does not get.
func makeFolder(path string) error {
	err := os.MkdirAll(path, 0o755)
	if !errors.Is(err, unix.EROFS) {
		return err
	}
	parent := filepath.Dir(path)
	for _, err := os.Stat(parent); err != nil; _, err = os.Stat(parent) {
		parent = filepath.Dir(parent)
	}
	if parent == "/" {
		return fmt.Errorf("folder %s: make it first: nothing can be laid over /", path)
	}
	if err := overlay(parent); err != nil {
		return err
	}
	return os.MkdirAll(path, 0o755)
}

// overlay lays a folder that can be written to over one, in which all that is in that is
// seen as before.
func overlay(dir string) error {
	below, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer below.Close()
	entries, err := below.ReadDir(-1)
	if err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
		return &fs.PathError{Op: "mount tmpfs", Path: dir, Err: err}
	}
	for _, e := range entries {
		from := fmt.Sprintf("/proc/self/fd/%d/%s", below.Fd(), e.Name())
		if err := show(from, filepath.Join(dir, e.Name()), e.Type()); err != nil {
			return err
		}
	}
	return nil
}

func show(from, to string, kind fs.FileMode) error {
	if kind == fs.ModeSymlink {
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	}
	var err error
	if kind.IsDir() {
		err = os.Mkdir(to, 0o755)
	} else {
		err = os.WriteFile(to, nil, 0o600)
	}
	if err != nil {
		return err
	}
	return bind(from, to)
}

// hide makes a folder empty, if it is there.
func hide(path string) error {
	err := unix.Mount("tmpfs", path, "tmpfs", unix.MS_RDONLY, "mode=755")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &fs.PathError{Op: "mount tmpfs", Path: path, Err: err}
	}
	return nil
}
