package wire

import (
	"bytes"
	"io"
	"os"
)

// firstPage is where the Go linker puts a program's build ID: in a note between the
// ELF headers and the code, on every architecture and in every build mode.
const firstPage = 4 << 10

// goNote is the name of that note. A program built without a build ID has none.
var goNote = []byte("Go\x00\x00")

// sameBuild reports whether both files, which have the same size, are one build of
// a Go program. The build ID holds a hash of all that went into it, so one page of
// each file is enough.
func sameBuild(a, b string) bool {
	page := readFirstPage(a)
	return bytes.Contains(page, goNote) && bytes.Equal(page, readFirstPage(b))
}

// readFirstPage returns less, or nil, where it cannot read.
func readFirstPage(file string) []byte {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	page := make([]byte, firstPage)
	n, _ := io.ReadFull(f, page)
	return page[:n]
}
