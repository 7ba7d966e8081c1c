package main

import (
	"io"
	"log/slog"
	"slices"

	"github.com/spf13/cobra"
)

// logFlags say what is logged, and how.
type logFlags struct{ level, format string }

var (
	logLevels  = []string{"debug", "info", "warn", "error"}
	logFormats = []string{"text", "json"}
)

func (f *logFlags) add(to *cobra.Command) {
	to.Flags().StringVar(&f.level, "log-level", "info", "least `level` that is logged: debug, info, warn or error")
	to.Flags().StringVar(&f.format, "log-format", "text", "`form` of the log on standard error: text or json")
	for name, values := range map[string][]string{"log-level": logLevels, "log-format": logFormats} {
		// The error is of a flag that is not there.
		_ = to.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
}

// logger returns the log.
func (f *logFlags) logger(to io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if !slices.Contains(logLevels, f.level) || level.UnmarshalText([]byte(f.level)) != nil {
		return nil, usage("", "--log-level %q: want debug, info, warn or error", f.level)
	}
	options := &slog.HandlerOptions{Level: level}
	switch f.format {
	case "text":
		return slog.New(slog.NewTextHandler(to, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(to, options)), nil
	}
	return nil, usage("", "--log-format %q: want text or json", f.format)
}
