package wrap

import (
	"encoding/json"

	"github.com/seamnet/seam/cni/wire"
)

// patched returns target changed by a JSON merge patch (RFC 7396): its members
// replace those of the same key, objects are merged, null removes. Both are valid
// JSON; a nil patch changes nothing, and a nil target is an empty object. What the
// patch does not name keeps its order and its bytes.
func patched(target, patch json.RawMessage) json.RawMessage {
	if patch == nil {
		return target
	}
	p, err := wire.ParseObject(patch)
	if err != nil {
		return patch // no object: it replaces
	}
	o, err := wire.ParseObject(target)
	if err != nil {
		o = &wire.Object{}
	}
	for _, key := range p.Keys() {
		if value := p.Get(key); string(value) == "null" {
			o.Delete(key)
		} else {
			o.Set(key, patched(o.Get(key), value))
		}
	}
	return o.Bytes()
}
