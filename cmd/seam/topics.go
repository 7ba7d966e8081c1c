package main

import "github.com/spf13/cobra"

// topics are what "seam help" explains beside the commands.
func topics() []*cobra.Command {
	return []*cobra.Command{
		{Use: "exit-codes", Short: "What the program ends with", Long: "Exit codes\n\n" + exitCodesHelp},
		{Use: "environment", Short: "Variables that are read", Long: environmentHelp},
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

Plugins that are programs get the whole environment. Called under the name of a
plugin, Seam reads the variables of the CNI specification instead.`
