package main

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPageListsTheChecks(t *testing.T) {
	text, err := os.ReadFile("../../docs/conformance.md")
	if err != nil {
		t.Fatal(err)
	}
	want, err := replace(string(text), "checks", checkTables())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("docs/conformance.md is not current: go run ./hack/conformance -checks-only (-want +got):\n%s", diff)
	}
}
