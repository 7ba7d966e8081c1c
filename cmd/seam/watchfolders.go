package main

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A folderWatch wakes who waits for changes in folders. It says nothing of what has
// changed: that is read whole.
type folderWatch struct {
	wake    chan struct{} // nil: the kernel has no watch left to give, and nothing wakes
	folders []string
	file    *os.File
	ended   chan struct{}
}

func watchFolders(folders []string) *folderWatch {
	w := &folderWatch{folders: folders, ended: make(chan struct{})}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		close(w.ended)
		return w
	}
	w.file, w.wake = os.NewFile(uintptr(fd), "inotify"), make(chan struct{}, 1)
	go w.run()
	return w
}

// refresh watches folders that are there only now, and of those that are not, what they are
// to be made in. For those that are watched already the kernel does nothing.
func (w *folderWatch) refresh() {
	if w.file == nil {
		return
	}
	raw, err := w.file.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		for _, dir := range w.folders {
			watchOrAbove(int(fd), dir)
		}
	})
}

// watchOrAbove watches a folder, or until something is made there the first above it that
// exists. One that cannot be watched wakes nobody: it is read at each interval.
func watchOrAbove(fd int, dir string) {
	_, err := unix.InotifyAddWatch(fd, dir, unix.IN_CREATE|unix.IN_CLOSE_WRITE|unix.IN_MOVE|unix.IN_DELETE|unix.IN_DELETE_SELF)
	for err == unix.ENOENT && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
		_, err = unix.InotifyAddWatch(fd, dir, unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_ONLYDIR|unix.IN_ONESHOT)
	}
}

func (w *folderWatch) run() {
	defer close(w.ended)
	events := make([]byte, 1<<12)
	for {
		if _, err := w.file.Read(events); err != nil {
			return
		}
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

func (w *folderWatch) close() {
	if w.file != nil {
		w.file.Close()
	}
	<-w.ended
}
