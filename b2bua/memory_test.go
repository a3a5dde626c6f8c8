package b2bua

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"sipvigil/store"
)

// memoryNet is an agent at 127.0.0.1:5060 with a caller in front of it and a
// callee behind it, without sockets.
type memoryNet struct {
	*testing.T
	agent   *Agent
	reg     *prometheus.Registry
	conn    *memoryConn
	mu      sync.Mutex // guards answers
	answers [][]byte   // to the caller
}

var (
	agentAddr  = &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1).To4(), Port: 5060}
	callerAddr = &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2).To4(), Port: 5062}
	calleeAddr = &net.UDPAddr{IP: net.IPv4(127, 0, 0, 3).To4(), Port: 5064}
)

func newNet(t *testing.T, streams ...Listener) *memoryNet {
	cfg := Default()
	cfg.NextHop = "sip:" + calleeAddr.String()
	reg := prometheus.NewRegistry()
	agent, err := New(cfg, noStore{}, noObserver{}, zap.NewNop(), reg)
	if err != nil {
		t.Fatal(err)
	}
	agent.Loaded()
	n := &memoryNet{T: t, agent: agent, reg: reg, conn: newMemoryConn()}
	n.conn.out = n.deliver
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- agent.Run(ctx, []net.PacketConn{n.conn}, streams) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	<-agent.serving
	return n
}

func (n *memoryNet) send(msg []byte) { n.conn.in <- datagram{msg, callerAddr} }

// deliver is called with what the agent sends.
func (n *memoryNet) deliver(msg []byte, to *net.UDPAddr) {
	switch {
	case to.IP.Equal(callerAddr.IP):
		n.mu.Lock()
		defer n.mu.Unlock()
		n.answers = append(n.answers, msg)
	case to.IP.Equal(calleeAddr.IP) && !bytes.HasPrefix(msg, []byte("SIP/2.0")):
		n.callee(msg)
	default:
		n.Errorf("sent to %v:\n%s", to, msg)
	}
}

// callee takes calls for bob and refuses others.
func (n *memoryNet) callee(msg []byte) {
	if bytes.HasPrefix(msg, []byte("ACK ")) {
		return
	}
	v := verdict{status: relayed, phrase: "Busy Here"}
	contact := ""
	if bytes.HasPrefix(msg, []byte("INVITE sip:bob@")) || !bytes.HasPrefix(msg, []byte("INVITE ")) {
		v = verdict{status: 200}
		contact = "Contact: <sip:bob@" + calleeAddr.String() + ">\r\n\r\n"
	}
	res, _ := statelessAnswer(msg, v, agentAddr, "callee")
	if contact != "" {
		res = append(res[:len(res)-2], contact...)
	}
	go func() { n.conn.in <- datagram{res, calleeAddr} }()
}

// finals are the final answers to the caller so far, without repetitions.
func (n *memoryNet) finals() [][]byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all [][]byte
	for _, a := range n.answers {
		if status(a) >= 200 && (len(all) == 0 || !bytes.Equal(all[len(all)-1], a)) {
			all = append(all, a)
		}
	}
	return all
}

// forget starts the list of answers anew.
func (n *memoryNet) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answers = nil
}

// count is the value of a counter without labels.
func (n *memoryNet) count(name string) float64 {
	n.Helper()
	families, err := n.reg.Gather()
	if err != nil {
		n.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	n.Fatalf("there is no %s", name)
	return 0
}

// call makes a call, and ends it.
func (n *memoryNet) call(id string) {
	n.Helper()
	request := func(method, toTag string, cseq int) []byte {
		return fmt.Appendf(nil, "%[1]s sip:bob@127.0.0.1 SIP/2.0\r\n"+
			"Via: SIP/2.0/UDP 127.0.0.2:5062;branch=z9hG4bK-%[2]s-%[1]s;rport\r\n"+
			"From: <sip:alice@127.0.0.2>;tag=a\r\nTo: <sip:bob@127.0.0.1>%[3]s\r\nCall-ID: %[2]s\r\n"+
			"CSeq: %[4]d %[1]s\r\nMax-Forwards: 70\r\nContact: <sip:alice@127.0.0.2:5062>\r\nContent-Length: 0\r\n\r\n",
			method, id, toTag, cseq)
	}
	exchange := func(req []byte) []byte {
		n.forget()
		n.send(req)
		time.Sleep(100 * time.Millisecond)
		finals := n.finals()
		if len(finals) != 1 || status(finals[0]) != 200 {
			n.Fatalf("call afterwards: got %d final answers, want 200:\n%s", len(finals), bytes.Join(finals, nil))
		}
		return finals[0]
	}
	res := exchange(request("INVITE", "", 1))
	_, tag, _ := strings.Cut(string(res), "To: <sip:bob@127.0.0.1>")
	tag, _, _ = strings.Cut(tag, "\r\n")
	n.send(request("ACK", tag, 1))
	time.Sleep(10 * time.Millisecond)
	exchange(request("BYE", tag, 2))
}

// memoryConn is a PacketConn whose datagrams come from a channel and go to a
// function.
type memoryConn struct {
	in     chan datagram
	out    func(msg []byte, to *net.UDPAddr)
	closed chan struct{}
	once   sync.Once
}

type datagram struct {
	msg  []byte
	from *net.UDPAddr
}

func newMemoryConn() *memoryConn {
	return &memoryConn{in: make(chan datagram, 16), closed: make(chan struct{})}
}

func (c *memoryConn) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case d := <-c.in:
		return copy(b, d.msg), d.from, nil
	case <-c.closed:
		return 0, nil, net.ErrClosed
	}
}

func (c *memoryConn) WriteTo(b []byte, to net.Addr) (int, error) {
	addr, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, errors.New("no UDP address")
	}
	c.out(bytes.Clone(b), addr)
	return len(b), nil
}

func (c *memoryConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func (c *memoryConn) LocalAddr() net.Addr              { return agentAddr }
func (c *memoryConn) SetDeadline(time.Time) error      { return nil }
func (c *memoryConn) SetReadDeadline(time.Time) error  { return nil }
func (c *memoryConn) SetWriteDeadline(time.Time) error { return nil }

// noStore keeps nothing and is always there.
type noStore struct{}

func (noStore) Save(store.Call)                  {}
func (noStore) Finish(store.Call, time.Duration) {}
func (noStore) Status() store.Status             { return store.Status{Reachable: true} }
func (noStore) Reserve(_ string, _ store.Side, mark uint32, covered func(uint32)) {
	covered(mark)
}

// noObserver looks away.
type noObserver struct{}

func (noObserver) Started(store.Call)                          {}
func (noObserver) Confirmed(store.Call)                        {}
func (noObserver) Evidence(string, store.Side, store.Evidence) {}
func (noObserver) Answered(...store.Reply)                     {}
func (noObserver) Calibrated(string, store.Side, store.Answer) {}
func (noObserver) Disturbed(string, store.Side, string)        {}
func (noObserver) Ending(string, store.End)                    {}
func (noObserver) Ended(store.Call)                            {}

// status is the status of a response.
func status(res []byte) int {
	var n int
	_, _ = fmt.Sscanf(string(res), "SIP/2.0 %d", &n)
	return n
}
