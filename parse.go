package seam

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/seamnet/seam/cni"
	"github.com/seamnet/seam/cni/wire"
)

// Parse parses a network configuration list or, where file ends in ".conf" or
// ".json", the older form of a single plugin, which becomes a list of one. Only the
// name of file is used: in errors, and by drop-in folders (see LoadFile), which
// Parse does not read; a list without "plugins" is therefore no error here.
//
// Errors have CodeDecoding for what is no JSON, else CodeInvalidConfig.
func Parse(raw []byte, file string) (*Network, error) {
	n, err := parse(raw, file)
	if err != nil {
		return nil, inFile(file, err)
	}
	return n, nil
}

func parse(raw []byte, file string) (*Network, error) {
	switch filepath.Ext(file) {
	case ".conf", ".json":
		_, list, err := listOfOne(raw)
		if err != nil {
			return nil, err
		}
		raw = list
	}
	return parseList(raw, file)
}

// inFile says in which file an error lies.
func inFile(file string, err error) error {
	if file == "" {
		file = "input"
	}
	code := cni.CodeOf(err)
	if code == cni.CodeInternal {
		code = cni.CodeInvalidConfig
	}
	return cni.Errorf(code, "network configuration %s: %w", file, err)
}

// listOfOne makes a list of a single plugin's configuration and returns it with the
// network's name, which may be empty.
func listOfOne(raw []byte) (name string, list []byte, err error) {
	members, err := decodeObject(raw)
	if err != nil {
		return "", nil, err
	}
	p, err := parsePlugin(raw)
	if err != nil {
		return "", nil, err
	}
	list, err = json.Marshal(map[string]any{
		"name":       p.Name,
		"cniVersion": p.CNIVersion,
		"plugins":    []any{members},
	})
	return p.Name, list, err
}

func parseList(raw []byte, file string) (*Network, error) {
	list, err := decodeObject(raw)
	if err != nil {
		return nil, err
	}
	n := &Network{Raw: raw, File: file}
	if _, ok := list["name"]; !ok {
		return nil, errors.New(`missing "name"`)
	}
	if n.Name, err = stringMember(list, "name"); err != nil {
		return nil, err
	}
	if n.Version, err = version(list); err != nil {
		return nil, err
	}
	for _, flag := range []struct {
		key string
		to  *bool
	}{
		{"disableCheck", &n.DisableCheck},
		{"disableGC", &n.DisableGC},
		{"loadOnlyInlinedPlugins", &n.InlinedOnly},
	} {
		if *flag.to, err = boolMember(list, flag.key); err != nil {
			return nil, err
		}
	}
	n.Plugins, err = plugins(list, n.InlinedOnly, file)
	return n, err
}

func plugins(list map[string]any, required bool, file string) ([]PluginConfig, error) {
	value, ok := list["plugins"]
	if !ok {
		if required {
			return nil, errors.New(`"loadOnlyInlinedPlugins" is true, but there is no "plugins"`)
		}
		return nil, nil
	}
	elements, ok := value.([]any)
	if !ok {
		return nil, fmt.Errorf(`"plugins": %s where a list is wanted`, jsonKind(value))
	}
	if len(elements) == 0 {
		return nil, errors.New(`"plugins" is empty`)
	}
	configs := make([]PluginConfig, 0, len(elements))
	for i, element := range elements {
		// Encoded anew, so that of a key written twice only the last is left.
		raw, err := json.Marshal(element)
		if err != nil {
			return nil, fmt.Errorf(`"plugins"[%d]: %w`, i, err)
		}
		p, err := parsePlugin(raw)
		if err != nil {
			return nil, fmt.Errorf(`"plugins"[%d]: %w`, i, err)
		}
		configs = append(configs, p.config(raw, file))
	}
	return configs, nil
}

// pluginObject is what the runtime must know of a plugin's configuration, and the
// keys whose types the specification fixes.
type pluginObject struct {
	CNIVersion   string          `json:"cniVersion"`
	Name         string          `json:"name"`
	Type         string          `json:"type"`
	Capabilities map[string]bool `json:"capabilities"`
	IPAM         struct {
		Type string `json:"type"`
	} `json:"ipam"`
	DNS        cni.DNS                    `json:"dns"`
	PrevResult map[string]json.RawMessage `json:"prevResult"`
	Valid      []struct {
		ContainerID string `json:"containerID"`
		IfName      string `json:"ifname"`
	} `json:"cni.dev/valid-attachments"`
}

func parsePlugin(raw []byte) (*pluginObject, error) {
	var p pluginObject
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, locate(raw, err)
	}
	if p.Type == "" {
		return nil, errors.New(`missing "type"`)
	}
	return &p, nil
}

func (p *pluginObject) config(raw []byte, file string) PluginConfig {
	maps.DeleteFunc(p.Capabilities, func(_ string, enabled bool) bool { return !enabled })
	return PluginConfig{
		Type:         p.Type,
		IPAM:         p.IPAM.Type,
		Capabilities: slices.Sorted(maps.Keys(p.Capabilities)),
		JSON:         raw,
		File:         file,
	}
}

// version chooses the list's version: the highest of "cniVersions" and "cniVersion"
// that Seam knows, or "cniVersion" as it stands where the former is missing.
func version(list map[string]any) (string, error) {
	single, err := stringMember(list, "cniVersion")
	if err != nil {
		return "", err
	}
	value, ok := list["cniVersions"]
	if !ok {
		return versionOrFirst(single), nil
	}
	elements, ok := value.([]any)
	if !ok {
		return "", fmt.Errorf(`"cniVersions": %s where a list is wanted`, jsonKind(value))
	}
	highest, known := "", wire.SupportedVersions()
	newest := known[len(known)-1]
	if single != "" {
		elements = append(slices.Clone(elements), single)
	}
	for _, element := range elements {
		v, ok := element.(string)
		if !ok {
			return "", fmt.Errorf(`"cniVersions": %s where a string is wanted`, jsonKind(element))
		}
		older, err := wire.AtLeast(newest, v)
		if err != nil {
			return "", fmt.Errorf(`"cniVersions": %w`, err)
		}
		if higher, _ := wire.AtLeast(v, highest); older && (higher || highest == "") {
			highest = v
		}
	}
	if highest == "" {
		highest = single
	}
	return versionOrFirst(highest), nil
}

// versionOrFirst returns the version that a missing one stands for.
func versionOrFirst(v string) string {
	if v == "" {
		return wire.SupportedVersions()[0]
	}
	return v
}

func stringMember(object map[string]any, key string) (string, error) {
	value, ok := object[key]
	if !ok {
		return "", nil
	}
	s, ok := value.(string)
	if !ok {
		return "", fmt.Errorf("%q: %s where a string is wanted", key, jsonKind(value))
	}
	return s, nil
}

// boolMember reads a flag, which old files may give as a string.
func boolMember(object map[string]any, key string) (bool, error) {
	switch value := object[key].(type) {
	case bool:
		return value, nil
	case string:
		switch strings.ToLower(value) {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
		return false, fmt.Errorf("%q: %q where true or false is wanted", key, value)
	default:
		if _, ok := object[key]; !ok {
			return false, nil
		}
		return false, fmt.Errorf("%q: %s where true or false is wanted", key, jsonKind(value))
	}
}

func jsonKind(value any) string {
	switch value.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case json.Number:
		return "a number"
	case string:
		return "a string"
	case []any:
		return "a list"
	}
	return "an object"
}

// decodeObject decodes a JSON object, keeping numbers as they are written.
func decodeObject(raw []byte) (map[string]any, error) {
	var object map[string]any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&object); err != nil {
		return nil, locate(raw, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, locate(raw, json.Unmarshal(raw, &struct{}{}))
	}
	return object, nil
}

// locate says where in raw a JSON error lies: at which key, or line and column.
func locate(raw []byte, err error) error {
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		said := "JSON " + t.Value + " where " + jsonWanted(t.Type.Kind()) + " is wanted"
		if t.Field != "" {
			said = fmt.Sprintf("%q: %s", t.Field, said)
		}
		return cni.Errorf(cni.CodeDecoding, "%s", said)
	}
	s, ok := errors.AsType[*json.SyntaxError](err)
	if !ok {
		return cni.Errorf(cni.CodeDecoding, "not JSON: it ends too early")
	}
	before := raw[:min(max(int(s.Offset)-1, 0), len(raw))]
	line := 1 + bytes.Count(before, []byte("\n"))
	column := len(before) - bytes.LastIndexByte(before, '\n')
	return cni.Errorf(cni.CodeDecoding, "line %d, column %d: %w", line, column, err)
}

func jsonWanted(kind reflect.Kind) string {
	switch kind {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Slice:
		return "a list"
	}
	return "an object"
}
