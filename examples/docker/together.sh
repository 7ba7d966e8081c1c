#!/bin/sh
# A container of Docker's and a pod without Docker on the network of 10-prod.conflist: each
# asks the other. Run it as root while seamd runs; it needs curl, jq and python3, and takes
# away what it made.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

clean() {
	docker rm --force box >/dev/null
	ip netns pids pod | xargs -r kill
	seam del prod pod
	ip netns del pod
	docker network rm prod
}

address() { # of the container or namespace of this name
	seam ls --json | jq -r --arg name "$1" '.attachments[] | select(.name == $name or .netns == $name) | .addresses[0] | split("/")[0]'
}

install -D -m 0644 "$here/10-prod.conflist" /etc/cni/net.d/10-prod.conflist
docker network create -d seam -o seam.network=prod --ipam-driver seam --ipam-opt seam.network=prod prod
ip netns add pod
trap clean EXIT
docker run -d --name box --network prod -p 8080:80 nginx
seam add prod pod --port 8095:80 >/dev/null
ip netns exec pod python3 -m http.server 80 --directory "$here" >/dev/null 2>&1 &
sleep 1

seam ls
echo "the pod asks the container:"
ip netns exec pod curl -sS "http://$(address box)" | head -n 3
echo "a container asks the pod:"
docker run --rm --network prod alpine wget -qO- "http://$(address /run/netns/pod)/10-prod.conflist" | head -n 3
echo "the host asks both by their published ports:"
curl -sS http://localhost:8080 | head -n 3
curl -sS http://localhost:8095/10-prod.conflist | head -n 3
