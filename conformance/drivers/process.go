package drivers

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// startTime is what a driver has until it answers.
const startTime = 15 * time.Second

// A process is a driver that the suite started.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
	log   tail
}

// place puts the driver's folder in the place of {dir}.
func (target *Target) place(text string) string { return strings.ReplaceAll(text, "{dir}", driverDir) }

func (target *Target) words() []string {
	words := make([]string, len(target.Command))
	for i, word := range target.Command {
		words[i] = target.place(strings.ReplaceAll(word, "{socket}", target.Socket))
	}
	return words
}

// start starts the driver, on what it had if it was killed, and waits until it can be
// called. It is killed at the end of the check.
func (e *engine) start() {
	e.Must(os.MkdirAll(driverDir, 0o700))
	words := e.target.words()
	p := &process{cmd: exec.Command(words[0], words[1:]...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p.cmd.WaitDelay = time.Second
	if err := p.cmd.Start(); err != nil {
		e.Brokenf("driver: %v; note that the suite's host hides /run and the folders of CNI", err)
	}
	go func() {
		_ = p.cmd.Wait() // the log says more
		close(p.ended)
	}()
	if e.running() == nil {
		e.Cleanup(func() {
			e.kill()
			if text := e.driver.log.String(); e.Failed() && text != "" {
				e.Logf("the driver said last: %s", text)
			}
		})
	}
	e.mu.Lock()
	e.driver = p
	e.mu.Unlock()
	for _, socket := range e.sockets() {
		e.await(socket)
	}
}

// await waits until somebody listens.
func (e *engine) await(socket string) {
	for deadline := time.Now().Add(startTime); ; time.Sleep(2 * time.Millisecond) {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			conn.Close()
			return
		}
		select {
		case <-e.driver.ended:
			e.Brokenf("driver: %q ended: %s", e.target.words(), e.driver.log.String())
		default:
		}
		if time.Now().After(deadline) || e.Context().Err() != nil {
			e.Brokenf("driver: %q does not listen after %v: %v\n%s", e.target.words(), startTime, err, e.driver.log.String())
		}
	}
}

// kill ends the driver as a power failure would, with what it started in its process group.
func (e *engine) kill() {
	p := e.running()
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // it may have ended
	<-p.ended
}

// restart is kill and start. An engine notices nothing.
func (e *engine) restart() {
	e.kill()
	e.start()
}

// dead reports, for a call that went wrong, that the driver has ended by itself, or does so now.
func (e *engine) dead() error {
	p := e.running()
	if p == nil {
		return nil
	}
	select {
	case <-p.ended:
		return fmt.Errorf("the driver has ended: %v", p.cmd.ProcessState)
	case <-time.After(300 * time.Millisecond):
		return nil
	}
}

// running is the driver's process; nil: the suite did not start it.
func (e *engine) running() *process {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.driver
}

// A tail keeps the last of what is written.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailSize = 2000

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	t.text = t.text[max(0, len(t.text)-tailSize):]
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(strings.ToValidUTF8(string(t.text), ""))
}
