package storetest

import (
	"net"
	"sync"
	"testing"
	"time"
)

// Relay is an address that leads to a server.
type Relay struct {
	Addr  string
	delay time.Duration

	mu    sync.Mutex
	to    string
	conns []net.Conn
}

// NewRelay relays connections to a server, whose answers it holds back.
func NewRelay(t testing.TB, server *Server, delay time.Duration) *Relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &Relay{Addr: listener.Addr().String(), delay: delay, to: server.Addr()}
	var all sync.WaitGroup
	t.Cleanup(all.Wait)
	t.Cleanup(r.cut)
	t.Cleanup(func() { _ = listener.Close() })
	all.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			r.mu.Lock()
			behind, err := net.Dial("tcp", r.to)
			r.conns = append(r.conns, client)
			r.mu.Unlock()
			if err != nil {
				_ = client.Close()
				continue
			}
			all.Go(func() { pump(behind, client, 0) })
			all.Go(func() { pump(client, behind, r.delay) })
		}
	})
	return r
}

// Move has the address lead to another server.
func (r *Relay) Move(server *Server) {
	r.mu.Lock()
	r.to = server.Addr()
	r.mu.Unlock()
	r.cut()
}

// cut closes all connections.
func (r *Relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, conn := range r.conns {
		_ = conn.Close()
	}
	r.conns = nil
}

// pump hands on what comes, each part after the delay.
func pump(to, from net.Conn, delay time.Duration) {
	type part struct {
		bytes []byte
		due   time.Time
	}
	parts := make(chan part, 10_000)
	go func() {
		defer close(parts)
		for {
			buf := make([]byte, 64<<10)
			n, err := from.Read(buf)
			if err != nil {
				return
			}
			parts <- part{buf[:n], time.Now().Add(delay)}
		}
	}()
	for p := range parts {
		time.Sleep(time.Until(p.due)) // this is the fault, and waits for nothing
		_, _ = to.Write(p.bytes)      // if it is closed, from will be, too
	}
	_, _ = to.Close(), from.Close()
}
