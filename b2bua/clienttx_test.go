package b2bua

import (
	"errors"
	"testing"
	"testing/synctest"
)

// silence is an outlet that leads nowhere.
type silence struct{}

func (silence) put(*request) error { return nil }

// waitingFor is a transaction that nobody awaits yet.
func waitingFor(t *testing.T, method string) *clientTx {
	n := newNet(t)
	return &clientTx{of: n.agent.transaction, key: clientKey{"b", method}, conn: silence{}, out: &request{method: method, transport: "udp"}}
}

func TestAnAnswerThatIsFasterThanWhoAskedIsHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tx := waitingFor(t, "BYE")
		go tx.receive(withLines(200))
		synctest.Wait()
		heard := 0
		tx.await(func(*received) { heard++ }, nil)
		synctest.Wait()
		if heard != 1 {
			t.Errorf("heard %d times", heard)
		}
	})
}

func TestWhatFailsIsToldUnlessTheAgentStops(t *testing.T) {
	for _, stops := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			tx := waitingFor(t, "BYE")
			var got error
			tx.end(errNoAnswer)
			tx.of.closing.Store(stops)
			tx.await(nil, func(err error) { got = err })
			synctest.Wait()
			if errors.Is(got, errNoAnswer) == stops {
				t.Errorf("stops: %t, got %v", stops, got)
			}
		})
	}
}

func TestAnAnswerThatWaitedUntilItsTransactionWasOverIsAStray(t *testing.T) {
	tx := waitingFor(t, "INVITE")
	strays := 0
	tx.of.onStray = func(*received) { strays++ }
	tx.await(func(*received) { t.Error("nobody waits any more") }, nil)
	tx.end(errNoAnswer)
	tx.receive(withLines(180))
	if strays != 1 {
		t.Errorf("%d strays", strays)
	}
}
