package main

import (
	"context"
	"fmt"
	"testing"

	"github.com/seamnet/seam/cni"
)

func TestExitOf(t *testing.T) {
	tests := []struct {
		err  error
		want exitCode
	}{
		{fmt.Errorf("add blue: %w", context.Canceled), exitInterrupted},
		{usage("no"), exitUsage},
		{hint(cni.Errorf(cni.CodeTryAgain, "busy"), "wait"), exitUnavailable},
		{&failure{cni.Errorf(cni.CodeInternal, "differs"), exitDiffers, ""}, exitDiffers},
		{cni.Errorf(cni.CodeIncompatibleVersion, "x"), exitUsage},
		{cni.Errorf(cni.CodeUnsupportedField, "x"), exitUsage},
		{cni.Errorf(cni.CodeUnknownContainer, "x"), exitNotFound},
		{cni.Errorf(cni.CodeInvalidEnvironment, "x"), exitUsage},
		{cni.Errorf(cni.CodeIO, "x"), exitFailed},
		{cni.Errorf(cni.CodeDecoding, "x"), exitUsage},
		{cni.Errorf(cni.CodeInvalidConfig, "x"), exitUsage},
		{cni.Errorf(cni.CodeInvalidNetNS, "x"), exitFailed},
		{cni.Errorf(cni.CodeNotAvailable, "x"), exitUnavailable},
		{cni.Errorf(cni.CodeLimited, "x"), exitUnavailable},
		{cni.Errorf(cni.CodeExists, "x"), exitFailed},
		{fmt.Errorf("anything else"), exitFailed},
	}
	for _, tt := range tests {
		if got := exitOf(tt.err); got != tt.want {
			t.Errorf("%v: exit code %d, want %d", tt.err, got, tt.want)
		}
	}
}
