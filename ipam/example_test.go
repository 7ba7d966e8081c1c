package ipam_test

import (
	"fmt"
	"net/netip"

	"github.com/seamnet/seam/ipam"
)

func ExamplePool() {
	set, err := ipam.Set{{Subnet: netip.MustParsePrefix("10.1.0.0/29")}}.Complete()
	if err != nil {
		fmt.Println(err)
		return
	}
	pool := ipam.NewPool(set)
	if err := pool.Claim(netip.MustParseAddr("10.1.0.4")); err != nil {
		fmt.Println(err)
	}
	for range 3 {
		a, err := pool.Take()
		fmt.Println(a, err)
	}
	fmt.Println(pool.Held())
	// Output:
	// 10.1.0.5 <nil>
	// 10.1.0.6 <nil>
	// 10.1.0.2 <nil>
	// [10.1.0.2 10.1.0.4 10.1.0.5 10.1.0.6]
}
