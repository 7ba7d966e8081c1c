package link

import "github.com/vishvananda/netlink"

// Shaping returns the queueing discipline that delays what leaves by the link, "tbf" or
// "htb", and the rate of AddTBF's or AddHTB's bucket in bytes a second; "" and 0 if there
// is none.
func (h *Handle) Shaping(l Link) (qdisc string, rate uint64, err error) {
	has, err := h.rootQdisc(l)
	if err != nil {
		return "", 0, err
	}
	switch q := has.(type) {
	case *netlink.Tbf:
		return "tbf", q.Rate, nil
	case *netlink.Htb:
		classes, err := retry(func() ([]netlink.Class, error) { return h.nl.ClassList(device(l), netlink.HANDLE_NONE) })
		if err != nil {
			return "", 0, failure("classes of", l.Name, err)
		}
		for _, c := range classes {
			if class, ok := c.(*netlink.HtbClass); ok && class.Handle == rootHandle|shapedClass {
				return "htb", class.Rate, nil
			}
		}
	}
	return "", 0, nil
}
