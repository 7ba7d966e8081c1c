package plugins

import (
	"slices"

	"github.com/seamnet/seam/conformance"
)

// Sources that many checks have.
const (
	specADD      = "CNI 1.1.0, section 2, ADD"
	specDEL      = "CNI 1.1.0, section 2, DEL"
	specCHECK    = "CNI 1.1.0, section 2, CHECK"
	specGC       = "CNI 1.1.0, section 2, GC"
	specSTATUS   = "CNI 1.1.0, section 2, STATUS"
	specVERSION  = "CNI 1.1.0, section 2, VERSION"
	specDelegate = "CNI 1.1.0, section 4"
	specResult   = "CNI 1.1.0, section 5, ADD Success"
	specError    = "CNI 1.1.0, section 5, Error"
)

func protocolChecks() []check {
	return slices.Concat(
		versionChecks(), resultChecks(),
		errorChecks(), toleranceChecks(),
		addChecks(), prevResultChecks(),
		delChecks(),
		checkChecks(), tamperChecks(),
		gcChecks(), statusChecks(),
		delegateChecks(), delegateErrorChecks(),
	)
}

// Requirements of each force, in one line.
func must(id, source, says string) conformance.Check {
	return requirement(conformance.Must, id, source, says)
}
func should(id, source, says string) conformance.Check {
	return requirement(conformance.Should, id, source, says)
}
func open(id, source, says string) conformance.Check {
	return requirement(conformance.Open, id, source, says)
}

func requirement(force conformance.Force, id, source, says string) conformance.Check {
	return conformance.Check{ID: string(conformance.Protocol) + "/" + id, Force: force, Says: says, Source: source}
}
