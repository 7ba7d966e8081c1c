package wire

import (
	"encoding/json"

	"github.com/seamnet/seam/cni"
)

// The keys of a configuration that are the runtime's and not the administrator's.
// The tag spec-v1.1.0 named the list of valid attachments by the older key; both
// are written and either is read.
const (
	keyPrev     = "prevResult"
	keyValid    = "cni.dev/valid-attachments"
	keyOldValid = "cni.dev/attachments"
)

// Compose returns the configuration with which one plugin of a network is called:
// the plugin's own object, with the network's name and version set, with
// runtimeConfig made of those capability arguments that its "capabilities" asks for,
// and without "capabilities". A runtimeConfig that stands there stays if there is
// nothing to be put in. Other keys stay as they are written.
func Compose(plugin []byte, name, version string, capabilities map[string]json.RawMessage) (cni.Config, error) {
	o, err := ParseObject(plugin)
	if err != nil {
		return cni.Config{}, cni.Errorf(cni.CodeDecoding, "configuration of a plugin: %w", err)
	}
	pluginType, err := o.String("type")
	if err != nil {
		return cni.Config{}, cni.Errorf(cni.CodeDecoding, "configuration of a plugin: %w", err)
	}
	if pluginType == "" {
		return cni.Config{}, cni.Errorf(cni.CodeInvalidConfig, `configuration of a plugin: missing key "type"`)
	}
	asked, err := askedFor(o.Get("capabilities"), capabilities)
	if err != nil {
		return cni.Config{}, cni.Errorf(cni.CodeDecoding, "configuration of plugin %q: %w", pluginType, err)
	}
	if asked != nil {
		o.Set("runtimeConfig", asked)
	}
	o.Delete("capabilities")
	o.SetString("name", name)
	o.SetString("cniVersion", version)
	return cni.Config{Name: name, Version: version, Type: pluginType, JSON: o.Bytes()}, nil
}

// askedFor returns the object of the arguments that the declaration enables, in the
// declaration's order, or nil if there are none.
func askedFor(declared json.RawMessage, capabilities map[string]json.RawMessage) (json.RawMessage, error) {
	if declared == nil || len(capabilities) == 0 {
		return nil, nil
	}
	var enabled map[string]bool
	if err := json.Unmarshal(declared, &enabled); err != nil {
		return nil, describe(declared, err)
	}
	o, err := ParseObject(declared)
	if err != nil {
		return nil, err
	}
	var asked Object
	for _, key := range o.Keys() {
		if value, ok := capabilities[key]; ok && enabled[key] {
			asked.Set(key, value)
		}
	}
	if len(asked.members) == 0 {
		return nil, nil
	}
	return asked.Bytes(), nil
}

// Input returns what a plugin reads on stdin for that verb: the request's
// configuration with prevResult, in the configuration's version, or with the valid
// attachments, where the verb has them and the request too. On DEL a previous
// result that the version has no form for is left out.
func Input(verb string, r *cni.Request) ([]byte, error) {
	o, err := ParseObject(r.Config.JSON)
	if err != nil {
		return nil, cni.Errorf(cni.CodeDecoding, "configuration of %q: %w", r.Config.Type, err)
	}
	o.Delete(keyPrev, keyValid, keyOldValid)
	o.SetString("cniVersion", r.Config.Version)
	o.SetString("name", r.Config.Name)
	if r.Prev != nil && (verb == "ADD" || verb == "CHECK" || verb == "DEL") {
		prev, err := EncodeResult(r.Prev, r.Config.Version)
		switch {
		case err == nil:
			o.Set(keyPrev, prev)
		case verb != "DEL":
			return nil, cni.Errorf(cni.CodeOf(err), "previous result for %q: %w", r.Config.Type, err)
		}
	}
	if r.Valid != nil && verb == "GC" {
		valid := encodeValid(r.Valid)
		o.Set(keyValid, valid)
		o.Set(keyOldValid, valid)
	}
	return o.Bytes(), nil
}

// validForm is one element of the list of valid attachments.
type validForm struct {
	ContainerID string `json:"containerID"`
	IfName      string `json:"ifname"`
}

func encodeValid(valid []cni.Attachment) json.RawMessage {
	forms := make([]validForm, len(valid))
	for i, a := range valid {
		forms[i] = validForm{a.ContainerID, a.IfName}
	}
	data, _ := json.Marshal(forms) // strings always have a JSON form
	return data
}

// decodeValid returns the list of valid attachments: nil when there is none, which
// is not the same as an empty one.
func decodeValid(o *Object, network string) ([]cni.Attachment, error) {
	for _, key := range []string{keyValid, keyOldValid} {
		var forms []validForm
		data := o.Get(key)
		if data == nil {
			continue
		}
		if err := json.Unmarshal(data, &forms); err != nil {
			return nil, cni.Errorf(cni.CodeDecoding, "configuration: key %q: %w", key, describe(data, err))
		}
		if forms == nil { // null
			continue
		}
		valid := make([]cni.Attachment, len(forms))
		for i, f := range forms {
			valid[i] = cni.Attachment{Network: network, ContainerID: f.ContainerID, IfName: f.IfName}
		}
		return valid, nil
	}
	return nil, nil
}
