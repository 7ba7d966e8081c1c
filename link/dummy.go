package link

// AddDummy makes a link that leads nowhere, down.
func (h *Handle) AddDummy(b Base) error { return h.add("dummy", b, nil) }
