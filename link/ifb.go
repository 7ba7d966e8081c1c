package link

// AddIFB makes an intermediate functional block, down: a link whose queue takes what
// others received, and which then lets it go on as if it had just come in.
func (h *Handle) AddIFB(b Base) error { return h.add("ifb", b, nil) }

// AddAltName gives a link another name, of at most 127 bytes, by which it is found, too.
// That the name is taken matches fs.ErrExist. Kernels before 5.5 know of none.
func (h *Handle) AddAltName(l Link, name string) error {
	return failure("add alternative name of", l.Name+", "+name, h.nl.LinkAddAltName(device(l), name))
}
