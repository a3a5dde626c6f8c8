package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sipvigil/store/storetest"
)

// peer is one process of another program that speaks SIP.
type peer struct {
	t      testing.TB
	cmd    *exec.Cmd
	output *lines
	ended  chan struct{}
}

// startPeer starts a program that runs until the end of the test. What it
// writes is shown when the test fails.
func startPeer(t testing.TB, command string, args ...string) *peer {
	t.Helper()
	p := &peer{t: t, cmd: exec.Command(command, args...), output: &lines{}, ended: make(chan struct{})}
	p.cmd.Dir = t.TempDir()
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with its children it is a group
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", command, err)
	}
	go func() {
		_ = p.cmd.Wait() // it is asked to end, or killed
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.end()
		if t.Failed() {
			t.Logf("%s:\n%s", filepath.Base(command), tail(p.output.String(), 4000))
		}
	})
	return p
}

// kamailio runs it at this host with a configuration, in which ADDR stands for
// its address, and returns that when it listens.
func kamailio(t testing.TB, host, config string) (addr string) {
	t.Helper()
	port := storetest.FreePort(t)
	addr = fmt.Sprintf("%s:%d", host, port)
	// In the foreground, with its files in a place of its own, and little memory.
	p := startPeer(t, "kamailio", "-DD", "-E", "-m", "32", "-M", "4", "-Y", t.TempDir(),
		"-f", file(t, "kamailio.cfg", strings.ReplaceAll(config, "ADDR", addr)))
	eventually(t, "kamailio listens", func() bool {
		select {
		case <-p.ended:
			t.Fatal("kamailio ended")
		default:
		}
		return bound(port)
	})
	return addr
}

// end asks the program to end, and demands it after a while.
func (p *peer) end() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.ended:
	case <-time.After(5 * time.Second):
		p.kill()
	}
}

// kill ends the program as a crash would.
func (p *peer) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // children that outlive it keep its output open // it may have ended
	<-p.ended
}

// site is a network namespace with one address, 198.18.x.y+1 behind the host's
// 198.18.x.y (RFC 2544's range for tests), for programs that ignore loopback.
type site struct {
	name, host, inside, network string
}

// newSite makes one and removes it at the end of the test.
func newSite(t testing.TB) site {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test puts a phone into a network namespace of its own, which only root may: sudo -E make test")
	}
	n := os.Getpid()
	net := fmt.Sprintf("198.18.%d.", n>>6&0xff)
	last := n & 0x3f << 2
	s := site{
		name: fmt.Sprintf("sipvigil%d", n), network: fmt.Sprintf("%s%d/30", net, last),
		host: fmt.Sprintf("%s%d", net, last+1), inside: fmt.Sprintf("%s%d", net, last+2),
	}
	near, far := fmt.Sprintf("sv%da", n), fmt.Sprintf("sv%db", n)
	ip := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %q: %v: %s\nThis test needs the right to make network namespaces and interfaces (in a container: CAP_SYS_ADMIN and CAP_NET_ADMIN).", args, err, out)
		}
	}
	ip("netns", "add", s.name)
	t.Cleanup(func() { ip("netns", "del", s.name) }) // and the veth pair with it
	ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", s.name)
	ip("addr", "add", s.host+"/30", "dev", near)
	ip("link", "set", near, "up")
	ip("-n", s.name, "addr", "add", s.inside+"/30", "dev", far)
	ip("-n", s.name, "link", "set", far, "up")
	ip("-n", s.name, "link", "set", "lo", "up")
	return s
}
