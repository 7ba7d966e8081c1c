package drivers

import (
	"net/netip"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seamnet/seam/conformance"
)

func TestMain(m *testing.M) {
	conformance.Serve(conformance.Suites{SuiteName: Reopen})
	os.Exit(m.Run())
}

// conform carries out the checks whose ID matches.
func conform(t *testing.T, target Target, match string) *conformance.Report {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	s, err := Suite(target, t.Name())
	if err != nil {
		t.Fatal(err)
	}
	r, err := conformance.Run(t.Context(), s, conformance.Options{Match: regexp.MustCompile("^(" + match + ")$")})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wantFindings fails the test unless what was found is what is told, and all else passed.
// Either says of which that may change from time to time.
func wantFindings(t *testing.T, r *conformance.Report, want map[string]conformance.Outcome, either ...string) {
	t.Helper()
	got := map[string]conformance.Outcome{}
	for _, f := range r.Findings {
		if f.Outcome != conformance.Passed && !slices.Contains(either, f.ID) {
			got[f.ID] = f.Outcome
			t.Logf("%s %s: %q", f.Outcome, f.ID, f.Notes)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

func TestChecksAreToldApart(t *testing.T) {
	form := regexp.MustCompile(`^(protocol|kernel|network|leaks|speed)/[a-z0-9-]+$`)
	seen := map[string]bool{}
	for _, c := range All() {
		if !form.MatchString(c.ID) || seen[c.ID] {
			t.Errorf("ID %q: want LEVEL/NAME, once", c.ID)
		}
		seen[c.ID] = true
		if c.Says == "" || c.Source == "" || c.Force == "" {
			t.Errorf("%s: wants what it says, its source and its force", c.ID)
		}
	}
}

func TestTarget(t *testing.T) {
	tests := []struct {
		name   string
		target string
		want   string // the error; empty: none
	}{
		{"a socket", `{"Socket":"/run/docker/plugins/x.sock"}`, ""},
		{"a command", `{"Command":["x"]}`, ""},
		{"nothing", `{}`, "driver: neither its socket nor the command that starts it is named"},
		{"relative", `{"Socket":"x.sock"}`, `socket "x.sock": must be an absolute path, or begin with {dir}`},
		{"unknown", `{"Sockets":"/x"}`, `target: json: unknown field "Sockets"`},
		{"no subnet", `{"Socket":"/x","Subnet":"10.0.0.1/8"}`, "subnet 10.0.0.1/8: has bits beyond its length: 10.0.0.0/8 is meant?"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Reopen([]byte(tt.target))
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("error %q, want %q", got, tt.want)
			}
		})
	}
}

func mobyTarget(program string) Target {
	return Target{
		Command: []string{program, "{dir}"}, Socket: "{dir}/moby.sock", IPAMSocket: "{dir}/mobyipam.sock",
		NetworkOptions: map[string]string{"parent": Uplink}, Subnet: netip.MustParsePrefix("10.70.0.0/24"),
	}
}
