package wire

import (
	"encoding/json"
	"fmt"

	"github.com/seamnet/seam/cnm"
)

// A protocolForm is a protocol's name. Engines write its number.
type protocolForm string

// protocolNumbers are those of IANA.
func protocolNumbers() map[protocolForm]int {
	return map[protocolForm]int{"tcp": 6, "udp": 17, "sctp": 132, "icmp": 1}
}

func (p *protocolForm) UnmarshalJSON(data []byte) error {
	var name string
	if json.Unmarshal(data, &name) == nil {
		if _, known := protocolNumbers()[protocolForm(name)]; !known {
			return fmt.Errorf("protocol %q is unknown", name)
		}
		*p = protocolForm(name)
		return nil
	}
	var number int
	if err := json.Unmarshal(data, &number); err != nil {
		return err
	}
	for name, n := range protocolNumbers() {
		if n == number {
			*p = name
			return nil
		}
	}
	return fmt.Errorf("protocol %d is unknown", number)
}

func (p protocolForm) MarshalJSON() ([]byte, error) {
	number, known := protocolNumbers()[p]
	if !known {
		return nil, fmt.Errorf("protocol %q is unknown", string(p))
	}
	return json.Marshal(number)
}

type exposedForm struct {
	Proto protocolForm
	Port  uint16
}

type bindingForm struct {
	Proto                 protocolForm
	IP                    string
	Port                  uint16
	HostIP                string
	HostPort, HostPortEnd uint16
}

func (o options) exposed() (ports []cnm.Port, err error) {
	var forms []exposedForm
	if _, err := o.get(keyExposed, &forms); err != nil {
		return nil, err
	}
	for _, f := range forms {
		ports = append(ports, cnm.Port{Protocol: string(f.Proto), Number: f.Port})
	}
	return ports, nil
}

func (o options) bindings() (bindings []cnm.PortBinding, err error) {
	var forms []bindingForm
	if _, err := o.get(keyPorts, &forms); err != nil {
		return nil, err
	}
	for _, f := range forms {
		b, err := f.value()
		if err != nil {
			return nil, fmt.Errorf("option %s: %w", keyPorts, err)
		}
		bindings = append(bindings, b)
	}
	return bindings, nil
}

// value drops the end of a range of one.
func (f *bindingForm) value() (b cnm.PortBinding, err error) {
	b.Port = cnm.Port{Protocol: string(f.Proto), Number: f.Port}
	b.HostPort = f.HostPort
	if f.HostPortEnd != f.HostPort {
		b.HostPortEnd = f.HostPortEnd
	}
	if b.HostPortEnd != 0 && b.HostPortEnd < b.HostPort {
		return b, fmt.Errorf("range of ports %d-%d runs backwards", b.HostPort, b.HostPortEnd)
	}
	if b.IP, err = parseAddr("IP", f.IP); err != nil {
		return b, err
	}
	b.HostIP, err = parseAddr("HostIP", f.HostIP)
	return b, err
}

// encodePorts returns the options that engines send for ports, also where there are none.
func encodePorts(bindings []cnm.PortBinding, exposed []cnm.Port) (map[string]any, error) {
	es, bs := []exposedForm{}, []bindingForm{}
	for _, p := range exposed {
		es = append(es, exposedForm{protocolForm(p.Protocol), p.Number})
	}
	for _, b := range bindings {
		bs = append(bs, bindingForm{
			Proto: protocolForm(b.Protocol), IP: textOf(b.IP), Port: b.Number,
			HostIP: textOf(b.HostIP), HostPort: b.HostPort, HostPortEnd: max(b.HostPort, b.HostPortEnd),
		})
	}
	if _, err := json.Marshal([]any{es, bs}); err != nil {
		return nil, fmt.Errorf("ports: %w", err)
	}
	return map[string]any{keyExposed: es, keyPorts: bs}, nil
}
