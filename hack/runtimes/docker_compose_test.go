package runtimes

import (
	"os"
	"strings"
	"testing"
)

const composeFile = `version: "2.4"
services:
  web:
    image: %IMAGE%
    command: httpd -f -h /www
    environment: [NAME=web]
    stop_signal: KILL
    ports: ["18080:80"]
    networks:
      front: {aliases: [www], ipv4_address: 10.75.0.7}
      pods: {}
  db:
    image: %IMAGE%
    command: httpd -f -h /www
    environment: [NAME=db]
    stop_signal: KILL
    networks: [front]
networks:
  front:
    driver: seam
    ipam: {config: [{subnet: 10.75.0.0/24}]}
  pods:
    driver: seam
    driver_opts: {seam.network: prod}
    ipam: {driver: seam, options: {seam.network: prod}, config: [{subnet: 10.71.0.0/24}]}
`

// TestDockerCompose: a project whose networks are Seam's.
func TestDockerCompose(t *testing.T) {
	onEngines(t, func(d *docker) {
		d.need("docker-compose")
		d.withSeamd()
		d.network(prodNetwork)
		before := d.footprint()
		d.must(os.Setenv("DOCKER_HOST", "unix://"+d.socket()))
		if d.engine.name == "29" {
			d.must(os.Setenv("COMPOSE_API_VERSION", "1.44")) // the least that it takes
		}
		file := d.write("docker-compose.yml", composed())
		compose := func(args ...string) string {
			d.Helper()
			return d.run("docker-compose", append([]string{"--project-name", "shop", "--file", file, "--no-ansi"}, args...)...)
		}
		for range 2 {
			compose("up", "--detach")
			web, db := compose("ps", "--quiet", "web"), compose("ps", "--quiet", "db")
			d.asks(db, "web", "web asked by "+d.on("shop_front", db).IPAddress)
			d.asks(db, "www", "web asked by "+d.on("shop_front", db).IPAddress)
			d.asks(web, "db", "db asked by 10.75.0.7")
			d.answers(nil, d.on("shop_pods", web).IPAddress+":80", "web asked by 10.71.0.1")
			d.answers(d.outside, nodeAddr+":18080", "web asked by "+outsideAddr)
			d.sound()
			compose("down")
			d.same(before)
		}
	})
}

func composed() string { return strings.ReplaceAll(composeFile, "%IMAGE%", image) }
