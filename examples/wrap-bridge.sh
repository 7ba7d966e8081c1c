#!/bin/sh
# A CNI plugin around a CNI plugin: "bridge" with a log line for each call, and with
# the MTU that every network on this host is to have. It lies in a folder of CNI_PATH
# under the type that the network's file names (see wrapped.conflist). "bridge" lies
# beside it or in another such folder. Log: WRAP_LOG.
IFS=:
for dir in "${0%/*}" $CNI_PATH; do [ -x "$dir/bridge" ] && break; done

sed 's/"mtu": *[0-9]*/"mtu": 1400/' | "$dir/bridge"
code=$?

echo "$(date +%FT%T) $CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME: $code" >>"${WRAP_LOG:-/run/wrap-bridge.log}"
exit $code
