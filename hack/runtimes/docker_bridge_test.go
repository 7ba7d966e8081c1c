package runtimes

import "testing"

// TestDocker: an engine alone, on its own bridges, so that other tests blame no one else
// for what they see.
func TestDocker(t *testing.T) {
	onEngines(t, func(d *docker) {
		before := d.footprint()
		d.docker("network", "create", "--subnet", "10.70.0.0/24", "own")
		d.web("web", "own", "--ip", "10.70.0.7")
		d.web("db", "own")
		d.answers(nil, "10.70.0.7:80", "web asked by 10.70.0.1")
		d.reach("own", "web", "db")
		for _, end := range []func(){d.stop, d.kill9, d.reboot} {
			end()
			d.start()
			d.docker("start", "web", "db")
			d.reach("own", "web", "db")
		}
		d.stop()
		d.flags = []string{"--live-restore"}
		d.start()
		d.docker("start", "web", "db")
		d.kill9()
		d.start()
		d.reach("own", "web", "db")
		d.remove("web", "db")
		d.docker("network", "rm", "own")
		d.same(before)
	})
}
