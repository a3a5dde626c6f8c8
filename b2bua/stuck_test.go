package b2bua

import (
	"bufio"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// lazy is a far end that reads only what the test reads of it.
func (l *pipes) lazy(t *testing.T, port int) net.Conn {
	ours, theirs := net.Pipe()
	t.Cleanup(func() { _ = ours.Close() })
	l.conns <- pipeEnd{theirs, &net.TCPAddr{IP: callerAddr.IP, Port: port}}
	synctest.Wait()
	return ours
}

func TestABusyConnectionThatTakesNothingIsClosed(t *testing.T) {
	overStreams(t, "tcp", func(n *memoryNet, l *pipes) {
		l.lazy(n.T, 5071)
		start := time.Now()
		for time.Since(start) < time.Minute && n.agent.streams.leads("tcp", "127.0.0.2:5071") {
			go n.ack(5071, "stuck")
			time.Sleep(70 * time.Millisecond)
		}
		if took := time.Since(start); took != stuckWrite+10*time.Millisecond { // found 43 messages later
			n.Errorf("closed after %v, want %v", took, stuckWrite)
		}
	})
}

func TestSoMuchWaitsForAFarEndThatReadsSlowly(t *testing.T) {
	overStreams(t, "tcp", func(n *memoryNet, l *pipes) {
		slow := l.lazy(n.T, 5071)
		_, _ = slow.Write(options("known")) // who is known may rest
		synctest.Wait()
		for range maxWaiting + 10 {
			go n.ack(5071, "slow")
		}
		synctest.Wait()
		r, got := bufio.NewReader(slow), 0
		for {
			time.Sleep(stuckWrite - time.Millisecond)
			_ = slow.SetReadDeadline(time.Now().Add(time.Millisecond))
			line, err := r.ReadString('\n')
			for ; err == nil && line != "\r\n"; line, err = r.ReadString('\n') {
			}
			if err != nil {
				break
			}
			got++
		}
		if got != maxWaiting || !n.agent.streams.leads("tcp", "127.0.0.2:5071") {
			n.Errorf("%d messages came, want %d; and the connection is to be open", got, maxWaiting)
		}
	})
}

func TestTLSMayWriteByItselfLongAfterAMessage(t *testing.T) {
	overStreams(t, "tcp", func(n *memoryNet, l *pipes) {
		l.connect(n.T, 5071).write(options("known"))
		n.agent.streams.mu.Lock()
		s := n.agent.streams.find(ground{transport: "tcp", addr: "127.0.0.2:5071"})
		n.agent.streams.mu.Unlock()
		time.Sleep(time.Hour)
		if _, err := s.conn.Write([]byte("a change of keys")); err != nil {
			n.Error(err)
		}
	})
}

func TestARequestThatComesAgainOverUDPDoesNotWaitForItsConnection(t *testing.T) {
	overStreams(t, "tcp", func(n *memoryNet, l *pipes) {
		stuck := l.lazy(n.T, 5071)
		invite := fmt.Appendf(nil, "INVITE sip:nobody@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.2:5071;branch=z9hG4bK-stuck\r\n"+
			"From: <sip:alice@127.0.0.2>;tag=a\r\nTo: <sip:127.0.0.1>\r\nCall-ID: stuck\r\nCSeq: 1 INVITE\r\n"+
			"Max-Forwards: 70\r\nContact: <sip:alice@127.0.0.2:5071;transport=tcp>\r\nContent-Length: 0\r\n\r\n")
		_, _ = stuck.Write(invite)
		_, _ = stuck.Read(make([]byte, 4096)) // 100, and nothing more
		synctest.Wait()
		n.send(invite)
		n.call("another")
	})
}
