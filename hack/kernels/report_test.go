package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestReport(t *testing.T) {
	const up = "\x01ready\n\x01begin link\n"
	const pass = "=== RUN   TestA\n--- PASS: TestA (0.10s)\n"
	const told = "up after 4.0s\nlink\n"
	tests := []struct {
		name, console, want, problems string
	}{
		{"all well", up + pass + "=== RUN   TestB\n=== RUN   TestB/sub\n--- PASS: TestB (0.20s)\n    --- PASS: TestB/sub (0.10s)\nPASS\n" +
			"\x01end link 1.5 ok\n\x01done\n[   9.0] reboot: Restarting system\n",
			told + "  ok    TestA 0.10s\n  ok    TestB 0.20s\n  ok in 1.5s\n2 passed, 0 failed, 0 skipped in 1 packages, 4s\n", ""},
		{"a failure is printed with its subtests", up + pass + "=== RUN   TestB\n    b_test.go:7: add: no\n--- FAIL: TestB (0.20s)\n    --- FAIL: TestB/sub (0.10s)\nFAIL\n" +
			"\x01end link 1.5 exit status 1\n\x01done\n",
			told + "  ok    TestA 0.10s\n  FAIL  TestB 0.20s\n        === RUN   TestB\n            b_test.go:7: add: no\n        --- FAIL: TestB (0.20s)\n            --- FAIL: TestB/sub (0.10s)\n        FAIL\n" +
				"  exit status 1 in 1.5s\n1 passed, 1 failed, 0 skipped in 1 packages, 4s\n",
			"link: exit status 1"},
		{"a crash is printed", up + pass + "=== RUN   TestB\npanic: no\n\x01end link 1.5 exit status 2\n\x01done\n",
			told + "  ok    TestA 0.10s\n        === RUN   TestB\n        panic: no\n  exit status 2 in 1.5s\n1 passed, 0 failed, 0 skipped in 1 packages, 4s\n",
			"link: exit status 2"},
		{"skips are told once, inside and outside a test's own process", up + pass + "=== RUN   TestB\n    b_test.go:1: === RUN   TestB\n            b_test.go:7: set SPEED\n        --- SKIP: TestB (0.0s)\n--- SKIP: TestB (0.20s)\nPASS\n" +
			"\x01end link 1.5 ok\n\x01done\n",
			told + "  ok    TestA 0.10s\n  skip  TestB: set SPEED\n  ok in 1.5s\n1 passed, 0 failed, 1 skipped in 1 packages, 4s\n", ""},
		{"a subtest is skipped because of the kernel", up + "=== RUN   TestA\n    a_test.go:1: === RUN   TestA/vlan\n            a_test.go:7: this kernel has no vlan\n        --- PASS: TestA (0.0s)\n            --- SKIP: TestA/vlan (0.0s)\n--- PASS: TestA (0.10s)\nPASS\n" +
			"\x01end link 1.5 ok\n\x01done\n",
			told + "  skip  TestA/vlan: this kernel has no vlan\n  ok    TestA 0.10s\n  ok in 1.5s\n1 passed, 0 failed, 0 skipped in 1 packages, 4s\n",
			"link: TestA/vlan was skipped: this kernel has no vlan"},
		{"the kernel dies", up + pass + "=== RUN   TestB\n[  18.6] Oops: int3\n",
			told + "  ok    TestA 0.10s\n        === RUN   TestB\n        [  18.6] Oops: int3\n1 passed, 0 failed, 0 skipped in 0 packages, 4s\n",
			"machine: ended before its work during link"},
		{"no root", "\x01lost mount 9p at /host: no such device\n\x01done\n", "0 passed, 0 failed, 0 skipped in 0 packages, 4s\n",
			"machine: mount 9p at /host: no such device\nno test passed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			r := &report{Out: &out, Elapsed: func() time.Duration { return 4 * time.Second }}
			for line := range strings.Lines(tt.console) {
				r.line(strings.TrimSuffix(line, "\n") + "\r\n")
			}
			problems := ""
			if err := r.verdict(); err != nil {
				problems = fmt.Sprint(err)
			}
			if diff := cmp.Diff(tt.want+tt.problems, out.String()+problems); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
