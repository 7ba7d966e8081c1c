package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/seamnet/seam/cni"
)

// errorForm is the specification's error object and one key more.
type errorForm struct {
	CNIVersion string    `json:"cniVersion"`
	Code       *cni.Code `json:"code"`
	Msg        string    `json:"msg"`
	Details    string    `json:"details,omitempty"`

	// Untouched is cni.IsUntouched. It also says that a code equal to cni.CodeExists is
	// meant as Seam means it. Codes from 100 on are each plugin's own, and old ones say 100
	// for any failure: if that were taken for "nothing was made", what they made would stay.
	Untouched bool `json:"untouched,omitempty"`
}

// EncodeError returns err as an error object of the version of the request it
// answers; "" is 0.1.0. An error that is no cni.Error has CodeInternal.
func EncodeError(err error, version string) []byte {
	if version == "" {
		version = oldest
	}
	code := cni.CodeOf(err)
	form := errorForm{CNIVersion: version, Code: &code, Msg: err.Error(), Untouched: cni.IsUntouched(err)}
	if e, ok := err.(*cni.Error); ok {
		form.Msg, form.Details = e.Msg, e.Details
	}
	form.Msg = strings.ReplaceAll(form.Msg, "\n", "; ") // errors.Join has lines
	data, _ := json.Marshal(form)                       // strings and a number always have a JSON form
	return data
}

// DecodeError returns, as a *cni.Error, what a plugin that ended with exit said: the
// error object on its stdout or, if there is none, the end of its stderr.
func DecodeError(stdout, stderr []byte, exit error) error {
	if e := decodeError(stdout); e != nil {
		return e
	}
	if out := bytes.TrimSpace(stdout); len(out) > 0 {
		return cni.Errorf(cni.CodeInternal, "%w, with no error object but %s on stdout", exit, excerpt(out)).
			WithDetails("%s", said(stderr))
	}
	return cni.Errorf(cni.CodeInternal, "%w, with nothing on stdout", exit).WithDetails("%s", said(stderr))
}

// decodeError returns the error object that stdout is, or nil.
func decodeError(stdout []byte) *cni.Error {
	var form errorForm
	if unmarshalObject(stdout, &form) != nil || (form.Code == nil && form.Msg == "") {
		return nil
	}
	e := &cni.Error{Code: cni.CodeInternal, Msg: form.Msg, Details: form.Details}
	if form.Code != nil && (*form.Code != cni.CodeExists || form.Untouched) {
		e.Code = *form.Code
	}
	if e.Msg == "" {
		e.Msg = fmt.Sprintf("error code %d without a message", *form.Code)
	}
	if form.Untouched {
		e = cni.Untouched(e)
	}
	return e
}

func said(stderr []byte) string {
	if s := strings.TrimSpace(string(stderr)); s != "" {
		return "on stderr: " + s
	}
	return ""
}

// excerpt quotes what should have been something else.
func excerpt(b []byte) string {
	const longest = 200
	if len(b) > longest {
		return fmt.Sprintf("%q…", b[:longest])
	}
	return fmt.Sprintf("%q", b)
}
