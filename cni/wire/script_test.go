package wire

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
)

// wrapDiary lays the example script, to be run by dash, beside the diary plugin.
func wrapDiary(t *testing.T) (wrapper *Executable, log string) {
	t.Helper()
	dash, err := exec.LookPath("dash")
	if err != nil {
		t.Skip("needs dash")
	}
	text, err := os.ReadFile("../../examples/wrap-bridge.sh")
	if err != nil {
		t.Fatal(err)
	}
	dir := installDiary(t)
	text = []byte(strings.Replace(string(text), "#!/bin/sh", "#!"+dash, 1))
	if err := os.WriteFile(filepath.Join(dir, "wrap-bridge.sh"), text, 0o755); err != nil {
		t.Fatal(err)
	}
	log = filepath.Join(dir, "log")
	t.Setenv("WRAP_LOG", log)
	p, err := Path{Dirs: []string{"/no/such/dir", dir}, Builtins: cni.Registry{"bridge": &tape{}}}.Find("wrap-bridge.sh")
	if err != nil {
		t.Fatal(err)
	}
	return p.(*Executable), log
}

// TestScript has what goes through the script arrive as it was sent, but for the MTU.
func TestScript(t *testing.T) {
	wrapper, log := wrapDiary(t)
	const odd = `,"n":12345678901234567890,"s":"$HOME \\n \"\u0027 <&> \\","mtu":%s`
	r, file := request(t, strings.Replace(odd, "%s", "9000", 1))
	result, err := wrapper.Add(t.Context(), r)
	if diff := cmp.Diff(onePod(), result, sameResult); diff != "" || err != nil {
		t.Fatalf("%v (-want +got)\n%s", err, diff)
	}
	if err := wrapper.Del(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	versions, err := wrapper.Versions(t.Context())
	if diff := cmp.Diff(SupportedVersions(), versions); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	want := `{"type":"bridge","diary":` + strconv.Quote(file) + strings.Replace(odd, "%s", "1400", 1) + `,"cniVersion":"1.1.0","name":"net"}`
	entries := readDiary(t, file)
	if len(entries) != 2 {
		t.Fatalf("%+v", entries)
	}
	for i, e := range entries {
		if diff := cmp.Diff(want, e.Config); diff != "" {
			t.Errorf("%s (-want +got)\n%s", e.Verb, diff)
		}
		if e.Verb != []string{"ADD", "DEL"}[i] || e.Env["CNI_CONTAINERID"] != "pod" || e.Env["CNI_PATH"] != strings.Join(wrapper.Dirs, ":") || e.Prev == "" {
			t.Errorf("%+v", e)
		}
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		_, line, _ = strings.Cut(line, " ") // the time
		lines = append(lines, line)
	}
	if diff := cmp.Diff([]string{"ADD pod eth0: 0\n", "DEL pod eth0: 0\n", "VERSION  dummy: 0\n"}, lines); diff != "" {
		t.Errorf("log (-want +got)\n%s", diff)
	}
}

func TestScriptErrorsPass(t *testing.T) {
	wrapper, log := wrapDiary(t)
	r, file := request(t, `,"fail":{"code":11,"msg":"busy \\ \"x\""}`)
	if _, err := wrapper.Add(t.Context(), r); cni.CodeOf(err) != cni.CodeTryAgain || err.Error() != `busy \ "x"; as told` {
		t.Errorf("%v", err)
	}
	if entries := readDiary(t, file); len(entries) != 2 || entries[1].Verb != "DEL" {
		t.Errorf("%+v", entries)
	}
	if text, err := os.ReadFile(log); err != nil || !strings.HasSuffix(string(text), "ADD pod eth0: 1\n") {
		t.Errorf("log %q, %v", text, err)
	}
}

// TestWrappedExample: the example network names the example script.
func TestWrappedExample(t *testing.T) {
	data, err := os.ReadFile("../../examples/wrapped.conflist")
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Plugins []json.RawMessage }
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	config, err := Compose(list.Plugins[0], "wrapped", latest, nil)
	if err != nil {
		t.Fatal(err)
	}
	file, builtin, err := Path{Dirs: []string{"../../examples"}}.Lookup(config.Type)
	if err != nil || builtin || file != "../../examples/wrap-bridge.sh" {
		t.Errorf("%q, %v, %v", file, builtin, err)
	}
	if st, err := os.Stat(file); err != nil || st.Mode()&0o111 != 0o111 {
		t.Errorf("not executable: %v, %v", st, err)
	}
}
