package plugintest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Program returns the path of the program seam: the one that SEAM_PROGRAM names, for
// machines without Go, else one that is built for the test.
func Program(t testing.TB) string {
	t.Helper()
	if program := os.Getenv("SEAM_PROGRAM"); program != "" {
		return program
	}
	return build(t, "seam")
}

// Daemon returns the path of the program seamd, which is built for the test.
func Daemon(t testing.TB) string {
	t.Helper()
	return build(t, "seamd")
}

func build(t testing.TB, name string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), name)
	if out, err := exec.Command("go", "build", "-o", program, "github.com/seamnet/seam/cmd/"+name).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}
