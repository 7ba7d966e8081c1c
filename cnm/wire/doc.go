// Package wire is Docker's remote-driver protocol, both ends of it: a Server answers
// engines with a cnm.Driver and a cnm.IPAM, and a Client is the driver behind a socket
// that Find found. The JSON forms, the sockets and the search for them are here and
// nowhere else.
//
// It is not for what a driver does (package docker, and any driver that plugin/cnm asks),
// nor for the engine's own API: nothing here calls an engine.
//
// To ask a driver as an engine does:
//
//	curl --unix-socket /run/docker/plugins/seam.sock -X POST http://driver/Plugin.Activate
//	curl --unix-socket /run/docker/plugins/seam.sock -d '{"NetworkID":"0a1b…"}' http://driver/NetworkDriver.DeleteNetwork
//
// To see what engine and driver say, put a proxy that prints in between, and name it in
// /etc/docker/plugins/traced.spec:
//
//	socat -v UNIX-LISTEN:/run/traced.sock,fork UNIX-CONNECT:/run/docker/plugins/seam.sock
package wire
