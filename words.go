package seam

import (
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/seamnet/seam/cni"
)

// Words returns the words for wishes, sorted: what Say knows.
func Words() []string {
	return []string{"args", "bandwidth", "capabilities", "ip", "mac", "ports"}
}

// Say adds to the wishes what people write for one, wherever they write it: an
// annotation, a label, an option. Lists are added to, and so are args and capabilities; of the
// others the last counts. Errors begin with the value, not with the word.
//
//	ports         [HOSTIP:]HOSTPORT:PORT[/PROTOCOL][,...]
//	ip            ADDRESS[/LENGTH][,...]
//	mac           ADDRESS
//	bandwidth     ingress=RATE,egress=RATE[,ingress-burst=BITS,egress-burst=BITS]
//	args          KEY=VALUE[;...], CNI_ARGS
//	capabilities  JSON object: values of other capabilities by name
func (w *Wishes) Say(word, value string) error {
	switch word {
	case "ports":
		return w.sayPorts(value)
	case "ip":
		return w.sayIPs(value)
	case "mac":
		return w.sayMAC(value)
	case "bandwidth":
		bandwidth, err := cni.ParseBandwidth(value)
		w.Bandwidth = bandwidth
		return err
	case "args":
		args, err := cni.ParseArgs(value)
		w.Args = append(slices.Clip(w.Args), args...)
		return err
	case "capabilities":
		if err := json.Unmarshal([]byte(value), &w.Capabilities); err != nil {
			return fmt.Errorf(`not a JSON object such as {"aliases": ["web"]}: %w`, err)
		}
		return nil
	}
	return fmt.Errorf("unknown; known are %s", strings.Join(Words(), ", "))
}

func (w *Wishes) sayPorts(value string) error {
	for s := range strings.SplitSeq(value, ",") {
		m, err := cni.ParsePortMapping(strings.TrimSpace(s))
		if err != nil {
			return err
		}
		w.Ports = append(w.Ports, m)
	}
	return nil
}

func (w *Wishes) sayIPs(value string) error {
	for s := range strings.SplitSeq(value, ",") {
		s = strings.TrimSpace(s)
		if _, _, err := cni.ParseAddr(s); err != nil {
			return fmt.Errorf("%q is no address such as 10.1.0.7 or fd00::7/64", s)
		}
		w.IPs = append(w.IPs, s)
	}
	return nil
}

func (w *Wishes) sayMAC(value string) error {
	if hw, err := net.ParseMAC(value); err != nil || len(hw) != 6 {
		return fmt.Errorf("%q is no address such as 02:00:00:00:00:01", value)
	}
	w.MAC = value
	return nil
}
