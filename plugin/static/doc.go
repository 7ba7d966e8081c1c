// Package static gives the addresses, routes and resolver that the configuration or
// the runtime names: the plugin "static".
//
// It keeps no record, and so does not know whether an address is in use elsewhere;
// package hostlocal does. To see what it gives, read the configuration.
package static
