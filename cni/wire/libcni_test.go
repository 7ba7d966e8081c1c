package wire

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/cni"
)

// TestLibcniDrivesServe has the reference runtime call a plugin of Seam's, directly
// and through the example script, in every version.
func TestLibcniDrivesServe(t *testing.T) {
	wrapper, _ := wrapDiary(t)
	for _, pluginType := range []string{"bridge", "wrap-bridge.sh"} {
		for _, version := range SupportedVersions() {
			t.Run(pluginType+" "+version, func(t *testing.T) { driveByLibcni(t, wrapper.Dirs, pluginType, version) })
		}
	}
}

func driveByLibcni(t *testing.T, dirs []string, pluginType, version string) {
	diary := filepath.Join(t.TempDir(), "diary")
	list, err := libcni.ConfListFromBytes([]byte(`{"cniVersion":"` + version + `","name":"net","plugins":[
		{"type":"` + pluginType + `","diary":` + strconv.Quote(diary) + `,"capabilities":{"mac":true}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	config := libcni.NewCNIConfigWithCacheDir(dirs, t.TempDir(), nil)
	rt := &libcni.RuntimeConf{
		ContainerID: "pod", IfName: "eth0", NetNS: "/no/such/ns",
		Args: [][2]string{{"IgnoreUnknown", "1"}}, CapabilityArgs: map[string]any{"mac": "02:00:00:00:00:01"},
	}
	result, err := config.AddNetworkList(t.Context(), list, rt)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(result)
	if err != nil {
		t.Fatal(err)
	}
	want, err := EncodeResult(onePod(), version)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(normal(t, want), normal(t, got)); diff != "" {
		t.Errorf("result (-want +got)\n%s", diff)
	}
	verbs := []string{"ADD"}
	if newer, err := AtLeast(version, "0.4.0"); err != nil {
		t.Fatal(err)
	} else if newer {
		verbs = append(verbs, "CHECK")
		if err := config.CheckNetworkList(t.Context(), list, rt); err != nil {
			t.Error(err)
		}
	}
	verbs = append(verbs, "DEL")
	if err := config.DelNetworkList(t.Context(), list, rt); err != nil {
		t.Error(err)
	}
	if version == latest {
		verbs = append(verbs, "GC", "STATUS")
		args := &libcni.GCArgs{ValidAttachments: []types.GCAttachment{{ContainerID: "a", IfName: "b"}}}
		if err := errors.Join(config.GCNetworkList(t.Context(), list, args), config.GetStatusNetworkList(t.Context(), list)); err != nil {
			t.Error(err)
		}
	}
	checkDiary(t, readDiary(t, diary), verbs)
	if _, err := config.ValidateNetworkList(t.Context(), list); err != nil {
		t.Error(err)
	}
}

func checkDiary(t *testing.T, entries []entry, want []string) {
	t.Helper()
	var verbs []string
	for _, e := range entries {
		verbs = append(verbs, e.Verb)
		// libcni sends no runtimeConfig with GC and STATUS.
		if told := strings.Contains(e.Config, `"runtimeConfig":{"mac":"02:00:00:00:00:01"}`); told != (e.Verb != "GC" && e.Verb != "STATUS") {
			t.Errorf("%s: runtimeConfig: %v, %s", e.Verb, told, e.Config)
		}
		if e.Verb == "GC" {
			if diff := cmp.Diff([]cni.Attachment{{Network: "net", ContainerID: "a", IfName: "b"}}, e.Valid); diff != "" {
				t.Errorf("valid attachments (-want +got)\n%s", diff)
			}
		}
		if (e.Verb == "CHECK") && e.Prev == "" {
			t.Errorf("%s without prevResult", e.Verb)
		}
	}
	if diff := cmp.Diff(want, verbs); diff != "" {
		t.Errorf("verbs (-want +got)\n%s", diff)
	}
}

// TestLibcniReadsErrors: an error object has its code, words and version.
func TestLibcniReadsErrors(t *testing.T) {
	dir := installDiary(t)
	list, err := libcni.ConfListFromBytes([]byte(`{"cniVersion":"1.1.0","name":"net","plugins":[
		{"type":"bridge","diary":` + strconv.Quote(filepath.Join(t.TempDir(), "diary")) + `,"fail":{"code":50,"msg":"no room"}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	err = libcni.NewCNIConfigWithCacheDir([]string{dir}, t.TempDir(), nil).GetStatusNetworkList(t.Context(), list)
	got, ok := errors.AsType[*types.Error](err)
	if !ok {
		t.Fatalf("%T %v", err, err)
	}
	if diff := cmp.Diff(&types.Error{Code: 50, Msg: "no room", Details: "as told"}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
