package wire

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/seamnet/seam/cni"
)

func TestEncodeError(t *testing.T) {
	own := cni.Errorf(cni.CodeTryAgain, "busy").WithDetails("wait")
	tests := []struct {
		name    string
		err     error
		version string
		want    string
	}{
		{"error object", own, "1.0.0", `{"cniVersion":"1.0.0","code":11,"msg":"busy","details":"wait"}`},
		{"no version", own, "", `{"cniVersion":"0.1.0","code":11,"msg":"busy","details":"wait"}`},
		{"wrapped keeps the code", fmt.Errorf("ipam: %w", own), "0.4.0", `{"cniVersion":"0.4.0","code":11,"msg":"ipam: busy; wait"}`},
		{"plain", fs.ErrNotExist, "1.1.0", `{"cniVersion":"1.1.0","code":999,"msg":"file does not exist"}`},
		{"joined", errors.Join(own, errors.New("roll back: x")), "1.1.0", `{"cniVersion":"1.1.0","code":11,"msg":"busy; wait; roll back: x"}`},
		{"refused", cni.Errorf(cni.CodeExists, "there"), "1.1.0", `{"cniVersion":"1.1.0","code":100,"msg":"there","untouched":true}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name == "refused" {
				tt.want = strings.Replace(tt.want, "100", fmt.Sprint(cni.CodeExists), 1)
			}
			if diff := cmp.Diff(tt.want, string(EncodeError(tt.err, tt.version))); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestDecodeError(t *testing.T) {
	exit := errors.New("exit status 3")
	tests := []struct {
		name, stdout, stderr string
		want                 cni.Error
	}{
		{"error object", `{"cniVersion":"1.0.0","code":7,"msg":"m","details":"d"}`, "log", cni.Error{Code: 7, Msg: "m", Details: "d"}},
		{"no message", `{"code":7}`, "", cni.Error{Code: 7, Msg: "error code 7 without a message"}},
		{"no code", `{"msg":"m"}`, "", cni.Error{Code: cni.CodeInternal, Msg: "m"}},
		{"code 0", `{"code":0,"msg":"m"}`, "", cni.Error{Msg: "m"}},
		{"nothing", ``, ``, cni.Error{Code: cni.CodeInternal, Msg: "exit status 3, with nothing on stdout"}},
		{"stderr only", "", "sad\nend\n", cni.Error{Code: cni.CodeInternal, Msg: "exit status 3, with nothing on stdout", Details: "on stderr: sad\nend"}},
		{"garbage", "oops\n", "sad", cni.Error{Code: cni.CodeInternal, Msg: `exit status 3, with no error object but "oops" on stdout`, Details: "on stderr: sad"}},
		{"a result", `{"ips":[]}`, "", cni.Error{Code: cni.CodeInternal, Msg: `exit status 3, with no error object but "{\"ips\":[]}" on stdout`}},
		{"two values", `{"code":1,"msg":"a"}{"code":2}`, "", cni.Error{Code: cni.CodeInternal, Msg: `exit status 3, with no error object but "{\"code\":1,\"msg\":\"a\"}{\"code\":2}" on stdout`}},
		{"negative code", `{"code":-1,"msg":"m"}`, "", cni.Error{Code: cni.CodeInternal, Msg: `exit status 3, with no error object but "{\"code\":-1,\"msg\":\"m\"}" on stdout`}},
		// Libraries before 1.0.0 gave every failure the code 100.
		{"another's code like CodeExists", fmt.Sprintf(`{"code":%d,"msg":"m"}`, cni.CodeExists), "", cni.Error{Code: cni.CodeInternal, Msg: "m"}},
		{"CodeExists", string(EncodeError(cni.Errorf(cni.CodeExists, "m"), "")), "", cni.Error{Code: cni.CodeExists, Msg: "m"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := DecodeError([]byte(tt.stdout), []byte(tt.stderr), exit)
			got, ok := err.(*cni.Error)
			if !ok {
				t.Fatalf("%T", err)
			}
			if diff := cmp.Diff(tt.want, *got, cmpopts.IgnoreUnexported(cni.Error{})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
