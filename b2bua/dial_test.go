package b2bua

import (
	"context"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// dialledEnd is a connection that the agent opened.
type dialledEnd struct {
	net.Conn
	local, remote net.Addr
}

func (d dialledEnd) LocalAddr() net.Addr  { return d.local }
func (d dialledEnd) RemoteAddr() net.Addr { return d.remote }

// listensAt has the agent reach this port of the caller over TCP, after a while.
func (n *memoryNet) listensAt(port int, while time.Duration) *peer {
	ours, theirs := net.Pipe()
	p := newPeer(n.T, ours)
	n.agent.dialTCP = func(ctx context.Context, _, _ string) (net.Conn, error) {
		select {
		case <-time.After(while):
			return dialledEnd{theirs, &net.TCPAddr{IP: agentAddr.IP, Port: 40000}, &net.TCPAddr{IP: callerAddr.IP, Port: port}}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return p
}

// ack has the agent send an ACK to this port of the caller over TCP.
func (n *memoryNet) ack(port int, callID string) {
	to := net.TCPAddr{IP: callerAddr.IP, Port: port}
	req := &request{method: "ACK", uri: "sip:alice@" + to.String(), transport: "tcp", to: to.String()}
	req.add("Call-ID", callID)
	n.agent.write(req)
}

func TestWhoStopsWaitingForAConnectionLeavesItToTheOthers(t *testing.T) {
	overStreams(t, "tcp", func(n *memoryNet, _ *pipes) {
		p := n.listensAt(5071, 2*time.Second)
		to := net.TCPAddr{IP: callerAddr.IP, Port: 5071}
		asked := make(chan string)
		go func() { asked <- asks(n.agent, PingCRLF, to.String(), time.Second) }()
		synctest.Wait()
		n.ack(5071, "waits")
		if got, want := <-asked, "false true ping "; got != want {
			n.Errorf("the ping: %q, want %q", got, want)
		}
		time.Sleep(time.Second)
		if got := p.text(); !strings.Contains(got, "Call-ID: waits\r\n") {
			n.Errorf("got %q", got)
		}
	})
}

// A peer may open connections from the port that it listens at, and a NAT may
// give two of them to different ports of ours the same address.
func TestConnectionsBetweenOtherPortsDoNotReplaceEachOther(t *testing.T) {
	overStreams(t, "tcp", func(n *memoryNet, l *pipes) {
		ours := n.listensAt(5071, 0)
		n.ack(5071, "first")
		synctest.Wait()
		theirs := l.connect(n.T, 5071)
		theirs.write(options("theirs"))
		if got := theirs.text(); !strings.Contains(got, "SIP/2.0 200 OK\r\n") {
			n.Errorf("it got %q", got)
		}
		if !ours.open() || !strings.Contains(ours.text(), "Call-ID: first\r\n") {
			n.Errorf("our connection is open: %v, and got %q", ours.open(), ours.text())
		}
		ours.write(options("ours"))
		if got := ours.text(); !strings.Contains(got, "SIP/2.0 200 OK\r\n") {
			n.Errorf("our connection got %q", got)
		}
		_ = theirs.conn.Close()
		synctest.Wait()
		n.ack(5071, "second")
		if got := ours.text(); !strings.Contains(got, "Call-ID: second\r\n") {
			n.Errorf("our connection got %q", got)
		}
	})
}
