package b2bua

import (
	"bytes"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"

	"sipvigil/store"
)

// crowd has as much wait for one Call-ID as may, until what it returns is called.
func (n *memoryNet) crowd(callID string) (disperse func()) {
	waiting := &n.agent.transaction.arrivals
	q, _ := waiting.offer(callID, func() {})
	for range maxWaiting {
		waiting.add(callID, func() {})
	}
	return func() { q.run() }
}

func TestARequestThatFindsNoPlaceIsServedWhenItComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		for _, method := range []string{"OPTIONS", "INVITE"} {
			disperse := n.crowd(method)
			req := bytes.ReplaceAll(options(method), []byte("OPTIONS sip:"), []byte(method+" sip:nobody@"))
			req = bytes.ReplaceAll(req, []byte("CSeq: 1 OPTIONS"), []byte("Contact: <sip:a@127.0.0.2>\r\nCSeq: 1 "+method))
			n.send(req)
			time.Sleep(time.Second)
			if got := n.finals(); len(got) > 0 {
				t.Errorf("answered %s", got)
			}
			if left := n.agent.Left(); left != "calls, clients, servers, first, early, waiting, ended: [0 0 0 0 0 1 0]" {
				t.Errorf("left of a request that was lost: %s", left)
			}
			disperse()
			n.send(req)
			time.Sleep(time.Second)
			if got := n.finals(); len(got) != 1 {
				t.Errorf("%d answers to the %s that came again", len(got), method)
			}
			n.forget()
			time.Sleep(time.Minute)
		}
	})
}

func TestAResponseThatFindsNoPlaceIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		var sent, heard atomic.Int32
		n.conn.out = func(msg []byte, _ *net.UDPAddr) {
			sent.Add(1)
			res, _ := statelessAnswer(msg, verdict{status: 200}, agentAddr, "a")
			go func() { n.conn.in <- datagram{res, calleeAddr} }()
		}
		disperse := n.crowd("x")
		d := store.Dialog{CallID: "x", Transport: "udp", Peer: calleeAddr.String(), Target: "sip:a@127.0.0.3"}
		tx, err := n.agent.send(n.agent.question(&d, "OPTIONS", 1))
		if err != nil {
			t.Fatal(err)
		}
		n.agent.await(tx, func(*received) { heard.Add(1) }, nil)
		time.Sleep(sip.T1 - time.Nanosecond)
		disperse()
		synctest.Wait()
		if heard.Load() > 0 {
			t.Error("heard too early")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if heard.Load() != 1 || sent.Load() != 2 {
			t.Errorf("sent %d times, heard %d times", sent.Load(), heard.Load())
		}
	})
}
