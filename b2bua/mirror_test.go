package b2bua_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sipvigil/b2bua"
	"sipvigil/test/ua"
)

// copies is a Mirror that keeps what it gets. While it is stuck it does not
// return.
type copies struct {
	mu    sync.Mutex // guards lines
	lines []string
	stuck chan struct{}
	err   error
}

func (c *copies) Message(m b2bua.Mirrored) error {
	if c.stuck != nil {
		<-c.stuck
	}
	message, err := ua.Parse(m.Text)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines = append(c.lines, fmt.Sprintf("%s %v>%v %s", m.CallID, m.From.Port(), m.To.Port(), what(message)))
	return c.err
}

func (c *copies) seen() []string {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := c.lines
	c.lines = nil
	return lines
}

func TestCopiesOfBothLegsCarryTheCallersCallID(t *testing.T) {
	to := &copies{}
	inWorld(t, func(c *b2bua.Config) { c.Mirror = to }, func(w *world) {
		w.connect()
		same(t, fmt.Sprint(to.seen()), "["+
			"call-1@alice 5071>5060 INVITE call-1@alice 5060>5071 100 INVITE call-1@alice 5060>5072 INVITE "+
			"call-1@alice 5072>5060 200 INVITE call-1@alice 5060>5071 200 INVITE "+
			"call-1@alice 5071>5060 ACK call-1@alice 5060>5072 ACK]")
		w.bob.request("BYE", "")
		w.bob.next("200 BYE")
		w.alice.respond(w.alice.next("BYE"), 200, "")
		same(t, fmt.Sprint(to.seen()), "["+
			"call-1@alice 5072>5060 BYE call-1@alice 5060>5072 200 BYE call-1@alice 5060>5071 BYE call-1@alice 5071>5060 200 BYE]")
		pass(time.Minute)
		w.alice.request("OPTIONS", "") // of the call that is over, and known no more
		w.alice.next("481 OPTIONS")
		same(t, fmt.Sprint(to.seen()), "[call-1@alice 5071>5060 OPTIONS call-1@alice 5060>5071 481 OPTIONS]")
	})
}

func TestNoCallWaitsForTheMirror(t *testing.T) {
	to := &copies{err: errors.New("nobody there")}
	inWorld(t, func(c *b2bua.Config) { to.stuck = make(chan struct{}); c.Mirror = to }, func(w *world) {
		w.connect()
		for range 2500 { // and as many answers
			w.alice.request("OPTIONS", "")
			w.alice.next("200 OPTIONS")
		}
		w.bob.request("BYE", "")
		w.bob.next("200 BYE")
		w.alice.respond(w.alice.next("BYE"), 200, "")
		synctest.Wait()
		close(to.stuck)
		if n := len(to.seen()); n != 4096+1 {
			t.Errorf("%d messages waited", n)
		}
	})
}
