package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// topics are what "seam help" explains beside the commands.
func topics() []*cobra.Command {
	return []*cobra.Command{
		{Use: "exit-codes", Short: "What the program ends with", Long: "Exit codes\n\n" + exitCodesHelp},
		{Use: "environment", Short: "Variables that are read", Long: environmentHelp},
	}
}

// strictHelp makes help on what there is not an error.
func strictHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	help, _, _ := root.Find([]string{"help"})
	help.Run, help.RunE = nil, func(_ *cobra.Command, args []string) error {
		about, unknown, err := root.Find(args)
		if err != nil || len(unknown) > 0 {
			return hint(usage("no command and no topic is called %q", strings.Join(args, " ")), "seam help lists them")
		}
		return about.Help()
	}
}

// strictCompletion makes the script for a shell that is none of those known, or not
// named, an error: it would be read by a shell as an empty one.
func strictCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	completion, _, _ := root.Find([]string{"completion"})
	completion.Args = nil
	completion.RunE = func(cmd *cobra.Command, args []string) error {
		return hint(usage("which shell is it? %q is none of bash, fish, powershell, zsh", strings.Join(args, " ")), "%s --help", cmd.CommandPath())
	}
}

const environmentHelp = `Environment: the variables of cnitool. A flag wins over its variable.

  NETCONFPATH   folder of the networks' files        --conf-dir
  CNI_PATH      folders of plugins, separated by ":" --plugin-dir
  CNI_IFNAME    interface's name in the container    --ifname
  CNI_ARGS      KEY=VALUE;KEY=VALUE for the plugins  --args (added)
  CAP_ARGS      JSON object of capabilities' values  --port, --cap and others

The container's ID is "cnitool-" and 20 digits of the SHA-512 of the namespace's
path unless --id gives another, so that both programs mean the same attachment.

OTEL_EXPORTER_OTLP_ENDPOINT=http://HOST:PORT sends spans to a collector of
OpenTelemetry; TRACEPARENT and further OTEL_ variables are read then, too.

Plugins that are programs get the whole environment. Called under the name of a
plugin, Seam reads the variables of the CNI specification instead.`
