package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNewest(t *testing.T) {
	const apt = `linux-image-6.1.0-9-amd64 linux-image-6.1.0-50-amd64 linux-image-6.1.0-51-cloud-amd64
		linux-image-6.1.0-52-rt-amd64 linux-image-6.1.0-53-amd64-unsigned linux-image-6.1.0-54-amd64-dbg
		linux-image-6.12-amd64 linux-image-6.12.9+bpo-amd64 linux-image-6.12.100+deb12-amd64
		linux-image-6.12.99+deb12-amd64 linux-image-6.12.101+deb12-cloud-amd64 linux-image-6.16.3-amd64`
	for _, tt := range []struct{ series, want string }{
		{"6.1", "linux-image-6.1.0-50-amd64"},
		{"6.12", "linux-image-6.12.100+deb12-amd64"},
		{"6.16", "linux-image-6.16.3-amd64"},
		{"6", ""},
	} {
		if got := newest(strings.Fields(apt), tt.series); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.series, got, tt.want)
		}
	}
}

func TestLoadOrder(t *testing.T) {
	const dep = `kernel/fs/netfs/netfs.ko.xz:
kernel/net/9p/9pnet.ko.xz: kernel/fs/netfs/netfs.ko.xz
kernel/fs/9p/9p.ko.xz: kernel/net/9p/9pnet.ko.xz kernel/fs/netfs/netfs.ko.xz
kernel/net/9p/9pnet-virtio.ko.xz: kernel/net/9p/9pnet.ko.xz kernel/fs/netfs/netfs.ko.xz
`
	const builtin = "kernel/drivers/virtio/virtio_pci.ko\n"
	got, err := loadOrder(dep, builtin, []string{"virtio_pci", "9pnet_virtio", "9p"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"kernel/fs/netfs/netfs.ko.xz", "kernel/net/9p/9pnet.ko.xz",
		"kernel/net/9p/9pnet-virtio.ko.xz", "kernel/fs/9p/9p.ko.xz",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := loadOrder(dep, builtin, []string{"overlay"}); err == nil {
		t.Error("a module that the kernel lacks: no error")
	}
}
