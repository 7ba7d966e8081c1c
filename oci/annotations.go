package oci

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/seamnet/seam"
	"github.com/seamnet/seam/cni"
)

// Prefix begins the annotations that are Seam's.
const Prefix = "seam."

// AnnotationNetwork names the networks: NETWORK[:INTERFACE][,...]. The others of Prefix
// say what the container is to have there.
const AnnotationNetwork = Prefix + "network"

// A Join is one network that a container is to join.
type Join struct {
	Network string
	IfName  string
	Wishes  seam.Wishes
}

// Joins reads annotations: the networks in their order, nil if no annotation is
// Seam's. One that begins with Prefix and is unknown is an error, as a mistyped wish would
// be lost in silence. Errors have CodeInvalidEnvironment.
//
//	seam.network       NETWORK[:INTERFACE][,...]; interfaces are eth0, eth1 and so on by place unless given
//	seam.ports         [HOSTIP:]HOSTPORT:PORT[/PROTOCOL][,...]
//	seam.ip            ADDRESS[/LENGTH][,...]
//	seam.mac           ADDRESS
//	seam.bandwidth     ingress=RATE,egress=RATE[,ingress-burst=BITS,egress-burst=BITS]
//	seam.args          KEY=VALUE[;...], CNI_ARGS
//	seam.capabilities  JSON object: values of other capabilities by name
//
// All but the first are of the first network; followed by ".INTERFACE" they are of the
// network that is joined by that interface.
func Joins(annotations map[string]string) ([]Join, error) {
	keys := slices.Sorted(maps.Keys(annotations))
	keys = slices.DeleteFunc(keys, func(key string) bool { return !strings.HasPrefix(key, Prefix) })
	if len(keys) == 0 {
		return nil, nil
	}
	joins, err := networks(annotations[AnnotationNetwork])
	if err != nil {
		return nil, invalid(AnnotationNetwork, err)
	}
	said := make(map[string]string) // "mac.eth0": by which annotation
	for _, key := range keys {
		if key == AnnotationNetwork {
			continue
		}
		wish, ifName, _ := strings.Cut(strings.TrimPrefix(key, Prefix), ".")
		i, err := place(joins, wish, ifName)
		if err == nil && said[wish+"."+joins[i].IfName] != "" {
			err = fmt.Errorf("%s says it, too", said[wish+"."+joins[i].IfName])
		}
		if err == nil {
			said[wish+"."+joins[i].IfName] = key
			err = joins[i].Wishes.Say(wish, annotations[key])
		}
		if err != nil {
			return nil, invalid(key, err)
		}
	}
	return joins, nil
}

func invalid(annotation string, err error) error {
	return cni.Errorf(cni.CodeInvalidEnvironment, "annotation %s: %w", annotation, err)
}

// networks reads the annotation that names them.
func networks(list string) ([]Join, error) {
	if list == "" {
		return nil, errors.New("missing or empty: it is NETWORK[:INTERFACE][,...], such as prod or prod:eth0,store:eth1")
	}
	var joins []Join
	for element := range strings.SplitSeq(list, ",") {
		j := Join{IfName: fmt.Sprintf("eth%d", len(joins))}
		name, ifName, given := strings.Cut(strings.TrimSpace(element), ":")
		j.Network = name
		if given {
			j.IfName = ifName
		}
		if err := cni.CheckNetworkName(j.Network); err != nil {
			return nil, err
		}
		if err := cni.CheckIfName(j.IfName); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(joins, func(other Join) bool { return other.IfName == j.IfName }) {
			return nil, fmt.Errorf("interface %s twice", j.IfName)
		}
		joins = append(joins, j)
	}
	return joins, nil
}

// place returns which of the joins a wish is about.
func place(joins []Join, wish, ifName string) (int, error) {
	if !slices.Contains(seam.Words(), wish) {
		known := []string{AnnotationNetwork}
		for _, name := range seam.Words() {
			known = append(known, Prefix+name)
		}
		return 0, fmt.Errorf("unknown; known are %s", strings.Join(known, ", "))
	}
	if ifName == "" {
		return 0, nil
	}
	var names []string
	for i, j := range joins {
		if j.IfName == ifName {
			return i, nil
		}
		names = append(names, j.IfName)
	}
	return 0, fmt.Errorf("no network is joined by interface %q, only by %s", ifName, strings.Join(names, ", "))
}
