package b2bua

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"sipvigil/store"
)

// SelfSigned is for the tests outside of the package.
var SelfSigned = selfSigned

// Left says what the agent still keeps of calls and transactions, "" for
// nothing.
func (a *Agent) Left() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.transaction
	t.mu.Lock()
	defer t.mu.Unlock()
	t.arrivals.mu.Lock()
	defer t.arrivals.mu.Unlock()
	left := [...]int{len(a.calls), len(t.clients), len(t.servers), len(t.first), len(t.early), len(t.arrivals.waiting), len(a.ended.calls)}
	if left == [len(left)]int{} {
		return ""
	}
	return fmt.Sprintf("calls, clients, servers, first, early, waiting, ended: %v", left)
}

// Undelivered has the agent take an ICMP error that says that nothing listens
// at an address, and quotes this.
func (a *Agent) Undelivered(to, quoted string) {
	a.undelivered(netip.MustParseAddrPort(to), []byte(quoted), portClosed)
}

// MayWait has another goroutine read the socket whose reader runs what is
// going to wait.
func (a *Agent) MayWait() { a.mayWait() }

// Overload has the agent find that there is more to do than can be done, until
// the next message that waits for nothing.
func (a *Agent) Overload() {
	s := &a.transaction.strain
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.hot, s.last, s.at, s.quick = true, time.Second, now, now
}

// Probe is Ask for one leg.
func (a *Agent) Probe(id string, side store.Side, method string, timeout time.Duration) {
	a.Ask([]store.Question{{ID: id, Side: side, Method: method}}, timeout)
}

// DialWith has the agent open connections with this.
func (a *Agent) DialWith(dial func(ctx context.Context, network, addr string) (net.Conn, error)) {
	a.dialTCP = dial
}
