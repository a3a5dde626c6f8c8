package storetest

import (
	"bufio"
	"bytes"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Server is a redis-server of one test, on a loopback port of its own. Its
// methods fail the test when they cannot do what they say.
type Server struct {
	t     testing.TB
	path  string
	port  int
	flags []string

	cmd    *exec.Cmd
	ended  chan struct{} // closed when the process has ended
	output *output
}

// Redis starts a redis-server that keeps nothing on disk and returns its URL.
// The flags are added to its command line. It ends with the test.
func Redis(t testing.TB, flags ...string) (string, *Server) {
	t.Helper()
	s := launch(t, append([]string{
		"--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", t.TempDir(),
		"--repl-diskless-sync-delay", "0",
	}, flags...))
	return s.URL(), s
}

// launch starts a server on a free port.
func launch(t testing.TB, flags []string) *Server {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatalf("this test needs redis-server (Debian: apt-get install redis-server): %v", err)
	}
	s := &Server{t: t, path: path, flags: flags}
	t.Cleanup(func() {
		if s.running() {
			s.Kill()
		}
	})
	// Somebody else may take the free port before the server does.
	for range 5 {
		s.port = FreePort(t)
		if s.start() {
			return s
		}
	}
	t.Fatalf("redis-server does not start:\n%s", s.output)
	return nil
}

// URL is the server's address in the form that a store's configuration takes.
func (s *Server) URL() string { return "redis://" + s.Addr() }

// Addr is the server's host and port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Port is the server's TCP port.
func (s *Server) Port() int { return s.port }

// Start starts a stopped or killed server again, empty, on the same port.
func (s *Server) Start() {
	s.t.Helper()
	if s.running() {
		s.t.Fatal("redis-server is running already")
	}
	if !s.start() {
		s.t.Fatalf("redis-server does not start again:\n%s", s.output)
	}
}

// Stop ends the server as an operator would.
func (s *Server) Stop() { s.t.Helper(); s.end(syscall.SIGTERM) }

// Kill ends the server at once.
func (s *Server) Kill() { s.t.Helper(); s.end(syscall.SIGKILL) }

// Pause keeps the server's connections open but lets nothing be answered.
func (s *Server) Pause() { s.t.Helper(); s.signal(syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (s *Server) Resume() { s.t.Helper(); s.signal(syscall.SIGCONT) }

// start says whether the server came up.
func (s *Server) start() bool {
	s.t.Helper()
	s.output = &output{}
	s.cmd = exec.Command(s.path, append(s.flags[:len(s.flags):len(s.flags)], "--port", strconv.Itoa(s.port))...)
	s.cmd.Stdout, s.cmd.Stderr = s.output, s.output
	if err := s.cmd.Start(); err != nil {
		s.t.Fatalf("start redis-server: %v", err)
	}
	ended := make(chan struct{})
	s.ended = ended
	go func(cmd *exec.Cmd) {
		_ = cmd.Wait() // how it ended is told by its output
		close(ended)
	}(s.cmd)
	Eventually(s.t, "redis-server answers or ends", func() bool { return !s.running() || s.answers() })
	return s.running()
}

func (s *Server) running() bool {
	if s.ended == nil {
		return false
	}
	select {
	case <-s.ended:
		return false
	default:
		return true
	}
}

func (s *Server) answers() bool {
	conn, err := net.DialTimeout("tcp", s.Addr(), time.Second)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return false
	}
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return err == nil && !strings.HasPrefix(line, "-LOADING")
}

func (s *Server) signal(sig os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatalf("send %v to redis-server: %v", sig, err)
	}
}

func (s *Server) end(sig os.Signal) {
	s.t.Helper()
	s.signal(sig)
	select {
	case <-s.ended:
	case <-time.After(patience):
		_ = s.cmd.Process.Kill()
		s.t.Fatalf("redis-server does not end:\n%s", s.output)
	}
}

// FreePort returns a port of the loopback interface that was free just now for
// TCP and UDP, and that it has not returned before. The kernel gives none of
// its range to sockets that ask for any.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := 10_000 + rand.IntN(20_000)
		if _, taken := ports.LoadOrStore(port, true); taken {
			continue // its owner may be about to listen on it again
		}
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		stream, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		packets, err := net.ListenPacket("udp", addr)
		_ = stream.Close()
		if err != nil {
			continue
		}
		_ = packets.Close()
		return port
	}
	t.Fatal("no free port was found")
	return 0
}

var ports sync.Map // that FreePort has returned, or found to be taken

// output is what a process wrote.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
