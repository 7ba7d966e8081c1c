# Seam: build, try, test, measure. "make help" lists the targets.
#
# Debian packages that the tests use and `make test` installs when missing:
#   nftables iptables iproute2  to read back, in the kernel's own tools, what Seam set
#   conntrack                   the same for tracked connections
#   iputils-ping                to see that addresses are reached
#   dash                        the shell that the wrapper scripts are written for
#   strace                      to count the programs that a benchmark executes
#   containerd runc crun podman conmon  the runtimes that Seam serves
#   busybox-static              what is in their containers
#   docker.io docker-compose    Docker's engine, as Debian has it, which Seam serves too
#   jq                          for the example of a runtime entry
#   dnsmasq-base                a DHCP server
#   firewalld dbus              a host whose firewall is firewalld's
#   iperf3                      to measure the data path
PACKAGES := nftables iptables iproute2 iputils-ping conntrack dash strace \
	containerd runc crun podman conmon docker.io docker-compose busybox-static jq dnsmasq-base firewalld dbus iperf3
BIN_DIR  ?= /opt/cni/bin
PREFIX   ?= /usr/local
export CGO_ENABLED := 0
export GOFLAGS := -buildvcs=false

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.version=$(VERSION)

.PHONY: help build demo test test-kernels test-engines engines soak bench bench-docker conformance install verify packages packages-kernels reference crictl drivers clean

help:
	@echo 'make demo     build Seam and watch it do its main job (needs root)'
	@echo 'make test     install what the tests need and run them all (needs root)'
	@echo 'make test-kernels  run the tests of what this kernel may lack under a Debian kernel in QEMU'
	@echo 'make test-engines  run the tests of Docker against newer engines too, which it builds once'
	@echo 'make soak     ten minutes of attaching and detaching, with failures, kills and flushes'
	@echo 'make build    bin/seam and bin/seamd'
	@echo 'make install  what "make build" made to $(PREFIX)/bin, the plugins to $(BIN_DIR), the units of systemd'
	@echo 'make bench    measure against the reference plugins; writes docs/benchmarks.md; then bench-docker'
	@echo 'make bench-docker  measure docker run and network connect against Docker'"'"'s own bridges; writes docs/benchmarks-docker.md'
	@echo 'make conformance  carry out the conformance suite on Seam'"'"'s and the reference plugins; writes docs/conformance.md'
	@echo 'make verify   gofmt, vet, staticcheck, house rules'

build:
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/seam ./cmd/seamd

demo: build
	bin/seam demo

test: packages reference crictl drivers
	SEAM_REFERENCE_PLUGINS=$(CURDIR)/.cache/reference SEAM_DOCKER_DRIVERS=$(CURDIR)/.cache/drivers \
		go test -count=1 -timeout 14m ./...

test-kernels: packages-kernels reference
	SEAM_REFERENCE_PLUGINS=$(CURDIR)/.cache/reference go run ./hack/kernels

# Docker's engines that Debian does not have, in the user's cache folder.
engines:
	go run ./hack/engines

test-engines: packages crictl engines
	SEAM_TEST_ENGINES=28.5.2,29 go test -count=1 -timeout 30m -run '^TestDocker' ./hack/runtimes

SOAK ?= 10m
soak: packages
	go test -count=1 -timeout 1h -run '^TestSoak$$' -v ./hack/leaks -args -soak=$(SOAK)

bench: packages reference
	SEAM_REFERENCE_PLUGINS=$(CURDIR)/.cache/reference go run ./hack/bench -out docs
	$(MAKE) bench-docker

# What the conformance suite finds, for Seam's plugins and the reference plugins.
conformance: packages reference drivers
	SEAM_REFERENCE_PLUGINS=$(CURDIR)/.cache/reference SEAM_DOCKER_DRIVERS=$(CURDIR)/.cache/drivers go run ./hack/conformance

# With the engines that are there: Debian's, and those of "make engines"; ENGINES=29 chooses.
bench-docker: packages
	go run ./hack/bench -docker -engines '$(ENGINES)' -out docs

# What is there is installed and not built: root's path, under sudo, often has no go.
install:
	@test -x bin/seam -a -x bin/seamd || { echo 'bin/seam or bin/seamd is missing: run "make build" first, as yourself'; exit 1; }
	install -D -m 0755 -t $(DESTDIR)$(PREFIX)/bin bin/seam bin/seamd
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	for u in deploy/*.service deploy/*.socket; do \
		sed -e 's|/usr/local/|$(PREFIX)/|' -e 's|/opt/cni/bin|$(BIN_DIR)|' $$u > $(DESTDIR)$(PREFIX)/lib/systemd/system/$$(basename $$u); done
	$(DESTDIR)$(PREFIX)/bin/seam install --bin-dir $(DESTDIR)$(BIN_DIR)

verify:
	@test -z "$$(gofmt -l .)" || { echo 'not gofmt-ed:'; gofmt -l .; exit 1; }
	go vet ./...
	go tool staticcheck ./...
	go test -count=1 ./hack/house

# The reference plugins, the peer that tests and benchmarks compare with.
REFERENCE := $(addprefix main/,bridge dummy host-device ipvlan loopback macvlan ptp tap vlan) \
	$(addprefix ipam/,dhcp host-local static) $(addprefix meta/,bandwidth firewall portmap sbr tuning vrf)
reference: .cache/reference/.v1.9.1.all
.cache/reference/.v1.9.1.all:
	mkdir -p .cache/reference
	GOBIN=$(CURDIR)/.cache/reference go install $(REFERENCE:%=github.com/containernetworking/plugins/plugins/%@v1.9.1)
	touch $@

# Docker's own macvlan driver and IPAM, behind a socket: what the plugin cnm is tried with.
drivers: .cache/drivers/moby
.cache/drivers/moby: $(wildcard plugin/cnm/testdata/moby/*)
	mkdir -p .cache/drivers
	cd plugin/cnm/testdata/moby && go build -mod=readonly -trimpath -ldflags '-s -w' -o $(CURDIR)/.cache/drivers/moby .

# crictl speaks to containerd as a kubelet does. Its module cannot be required by another, so it is
# built in its own folder.
crictl: .cache/crictl/crictl
.cache/crictl/crictl:
	mkdir -p .cache/crictl
	cd "$$(go mod download -json sigs.k8s.io/cri-tools@v1.30.0 | sed -n 's/.*"Dir": "\(.*\)",/\1/p')" && \
	go build -mod=readonly -trimpath -ldflags '-s -w' -o $(CURDIR)/.cache/crictl/crictl ./cmd/crictl

packages:
	@missing=$$(for p in $(PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ]; then apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing; fi

# Debian packages with which other kernels are run: the emulator, and depmod and modprobe.
packages-kernels: PACKAGES += qemu-system-x86 kmod
packages-kernels: packages

clean:
	rm -rf bin .cache
