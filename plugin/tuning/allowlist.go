package tuning

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"

	"github.com/seamnet/seam/cni"
)

// allowlist is the administrator's: what no network's configuration may go beyond.
const allowlist = "/etc/cni/tuning/allowlist.conf"

// allowed reports, as an error, the first sysctl that the list does not allow. It holds
// regular expressions, one a line; without the file all is allowed.
func allowed(sysctls Sysctls) error {
	if len(sysctls) == 0 {
		return nil
	}
	data, err := os.ReadFile(allowlist)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sysctl allow list: %w", err)
	}
	var patterns []*regexp.Regexp
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		pattern, err := regexp.Compile(line)
		if err != nil {
			return fmt.Errorf("sysctl allow list %s: %w", allowlist, err)
		}
		patterns = append(patterns, pattern)
	}
next:
	for _, s := range sysctls {
		for _, p := range patterns {
			if p.MatchString(s.Key) {
				continue next
			}
		}
		return cni.Errorf(cni.CodeInvalidConfig, "sysctl %s: %s does not allow it", s.Key, allowlist)
	}
	return nil
}
