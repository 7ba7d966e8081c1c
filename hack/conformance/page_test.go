package main

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/conformance"
	"github.com/seamnet/seam/conformance/drivers"
	"github.com/seamnet/seam/conformance/plugins"
)

func TestPageListsTheChecks(t *testing.T) {
	text, err := os.ReadFile("../../docs/conformance.md")
	if err != nil {
		t.Fatal(err)
	}
	want := string(text)
	for part, checks := range map[string][]conformance.Check{"checks": plugins.All(), "driver checks": drivers.All()} {
		if want, err = replace(want, part, checkTables(checks)); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("docs/conformance.md is not current: go run ./hack/conformance -checks-only (-want +got):\n%s", diff)
	}
}
