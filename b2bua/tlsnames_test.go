package b2bua

import (
	"bufio"
	"crypto/tls"
	"strings"
	"testing"
	"time"
)

// Hosted SBCs serve many names at one address, each with a certificate of its
// own.
func TestTwoNamesAtOneAddressHaveAConnectionEach(t *testing.T) {
	certs := map[string]*tls.Config{"one.example": selfSigned(t, "one.example"), "two.example": selfSigned(t, "two.example")}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) { return certs[hello.ServerName], nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	conns := make(chan *tls.Conn, 10)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				close(conns)
				return
			}
			if conn.(*tls.Conn).Handshake() == nil {
				conns <- conn.(*tls.Conn)
			}
		}
	}()
	n := newNet(t)
	trust := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: certs["one.example"].RootCAs.Clone()}
	n.agent.cfg.TLS = func() *tls.Config { return trust }
	trust.RootCAs.AddCert(certs["two.example"].Certificates[0].Leaf)
	send := func(name, callID string) {
		req := &request{method: "ACK", uri: "sip:bob@" + name, transport: "tls", to: l.Addr().String()}
		req.add("Call-ID", callID)
		n.agent.write(req)
	}
	readers := make(map[string]*bufio.Reader)
	gets := func(name, callID string) {
		t.Helper()
		if readers[name] == nil {
			conn := <-conns
			t.Cleanup(func() { _ = conn.Close() })
			_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
			if got := conn.ConnectionState().ServerName; got != name {
				t.Fatalf("a connection for %s, want %s", got, name)
			}
			readers[name] = bufio.NewReader(conn)
		}
		for end := false; !end; {
			line, err := readers[name].ReadString('\n')
			if err != nil {
				t.Fatalf("%s is to get %s: %v", name, callID, err)
			}
			if id, ok := strings.CutPrefix(line, "Call-ID: "); ok && strings.TrimSpace(id) != callID {
				t.Errorf("%s got %s, want %s", name, id, callID)
			}
			end = line == "\r\n"
		}
	}
	for _, round := range []string{"1", "2", "3"} {
		for _, name := range []string{"one.example", "two.example"} {
			send(name, round+name)
			gets(name, round+name)
		}
	}
	_ = l.Close()
	if _, more := <-conns; more {
		t.Error("a name has two connections")
	}
}
