package main

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestProgress(t *testing.T) {
	tests := []struct {
		name     string
		terminal bool
		last     time.Duration
		want     string
	}{
		{"quick", true, 900 * time.Millisecond, ""},
		{"lines", false, 7500 * time.Millisecond, "waiting … 1 s\nwaiting … 3 s\nwaiting … 7 s\n"},
		{"terminal", true, 2500 * time.Millisecond, "\r\x1b[Kwaiting … 1 s\r\x1b[Kwaiting … 2 s\r\x1b[K"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var b bytes.Buffer
				done := make(chan struct{})
				go report(&b, "waiting", test.terminal, done)
				time.Sleep(test.last)
				close(done)
				synctest.Wait()
				if diff := cmp.Diff(test.want, b.String()); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		})
	}
}
