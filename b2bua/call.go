package b2bua

import (
	"sync"
	"time"

	"go.uber.org/zap"

	"sipvigil/b2bua/dialog"
	"sipvigil/store"
)

// call is one call in memory, which is the truth while this node owns it. At
// rest it has no goroutine, and no timer but that of its session.
type call struct {
	agent *Agent
	id    string
	turns serial
	asked uint64 // hash of what decided where the INVITE that made it went
	after string // id of the call of ours that this INVITE belongs to, if it came back

	mu         sync.Mutex       // guards rec, covered, sessionIDs, restored and holds
	rec        record           // written only by who has the turn
	covered    [2]uint32        // highest marks that the store has, by leg; they get into rec with the next number
	restored   *[2]store.Health // of a call that was read back and is not in use yet
	holds      [2]string        // trunks of which each leg has a channel; written only by who has the turn
	sessionIDs sessionIDs

	// What follows is touched only by who has the turn.
	updates    [2]int8    // UPDATEs that ask for a sign of life and have no answer yet, by leg
	stored     bool       // the store knows the call
	fresh      [2]bool    // no answer came since the numbers of the leg jumped
	inviteFrom store.Side // who sent the last INVITE that was passed on
	inviteCSeq [2]uint32  // its number on each leg, also when it is over
	transits   []*transit // requests on their way through, without INVITEs and BYEs
	inv        *invite    // the INVITE that is on its way through, until its ACK
	own        *invite    // a re-INVITE of ours that has no final answer yet
	told       *told      // the session as it stands, nil where it is not known or not needed
	end        *ending    // the release, once it has begun
	clock      *clock     // of the session timer, nil without one

	subscriptions []*subscription
}

func (a *Agent) newCall(rec store.Call) *call {
	return &call{agent: a, id: rec.ID, rec: recordOf(&rec)}
}

// do runs f when it is its turn, and does not wait for it: events of one call are
// serial.
func (c *call) do(f func()) { c.turns.do(f, &c.agent.work, c.agent.panicked) }

// here is do for the goroutine that serves a message of this Call-ID, in its
// order: f runs in it, unless others have the turn, and what comes after the
// message need not wait for f.
func (c *call) here(callID string, f func()) {
	t := c.agent.transaction
	c.turns.here(func() { t.arrivals.pass(callID) }, f, c.agent.panicked)
}

// snapshot is the record as it stands, without the health of its legs.
func (c *call) snapshot() store.Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rec.call()
}

// epoch is the owner's fencing number.
func (c *call) epoch() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rec.Epoch
}

// set changes the record. The turn is needed.
func (c *call) set(f func(*record)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.rec)
}

func (c *call) state() store.State { return c.rec.State }

// dialog is one leg's dialog, to be read with the turn.
func (c *call) dialog(side store.Side) *store.Dialog { return &c.rec.Legs[side].Dialog }

// ownsResponse says whether a response is to one of our requests on this leg.
// It needs no turn.
func (c *call) ownsResponse(side store.Side, res *received) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := &c.rec.Legs[side].Dialog
	return d.LocalTag == res.fromTag && d.CallID == res.callID &&
		d.RemoteTag == res.toTag
}

// evidence reports that the far end of a leg is there.
func (c *call) evidence(side store.Side, what string) {
	if c.state() == store.Confirmed {
		c.agent.observer.Evidence(c.id, side, store.Evidence{What: what, At: time.Now()})
	}
}

// spend takes the leg's next number and has the store cover the ones after it.
// ok is false when a crash now could make a later owner repeat numbers: the
// store has been away for too many requests.
func (c *call) spend(side store.Side) (n uint32, ok bool) {
	var reserve uint32
	c.set(func(rec *record) {
		d := &rec.Legs[side].Dialog
		dialog.Covered(d, c.covered[side])
		if ok = !dialog.Overdrawn(d); ok {
			n, reserve = dialog.Spend(d)
		}
	})
	if reserve != 0 && c.stored {
		c.reserve(side, reserve)
	}
	return n, ok
}

// reserve has the store cover numbers up to mark.
func (c *call) reserve(side store.Side, mark uint32) {
	c.agent.store.Reserve(c.id, side, mark, func(mark uint32) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.covered[side] = max(c.covered[side], mark)
	})
}

// save gives the record to the store. What has been reserved so far goes with
// it.
func (c *call) save() {
	c.set(func(rec *record) {
		for i := range rec.Legs {
			if d := &rec.Legs[i].Dialog; !c.stored {
				// Marks that were asked for before the record existed are covered by it.
				dialog.Covered(d, d.LocalAsked)
			}
		}
		rec.compact()
	})
	c.stored = true
	c.agent.store.Save(c.snapshot())
}

// fields identify the call in each line of the log.
func (c *call) fields(more ...zap.Field) []zap.Field {
	return append([]zap.Field{
		zap.String("call", c.id),
		zap.String("caller_call_id", c.rec.Legs[store.Caller].CallID),
		zap.String("callee_call_id", c.rec.Legs[store.Callee].CallID),
	}, more...)
}

// onRequest serves a request inside the dialog of one leg.
func (c *call) onRequest(side store.Side, in *inbound) {
	switch in.method {
	case "ACK":
		c.onAck(side, in)
		return
	case "REGISTER", "PUBLISH":
		in.refuse(&fault{405, "", []string{"Allow", allow}})
		return
	}
	if !c.fromFarEnd(side, in) {
		return
	}
	var fresh bool
	c.set(func(rec *record) { fresh = dialog.Arrive(&rec.Legs[side].Dialog, in.cseq) })
	if !fresh {
		// RFC 3261 section 12.2.2. It changes nothing, and proves nothing: a
		// third party may have sent it.
		in.answer(500)
		return
	}
	c.back(side, in)
	if in.method == "BYE" {
		c.onBye(side, in)
		return
	}
	if c.end != nil && !c.outlives(side, in) {
		in.answer(481) // RFC 5407 section 3.2.2: the dialog is in its mortal state
		return
	}
	c.evidence(side, in.method)
	if in.method != "OPTIONS" && c.stored {
		c.save() // the number of the far end
	}
	if in.method == "INVITE" || in.method == "UPDATE" {
		if f := in.tooShort(); f != nil {
			in.refuse(f)
			return
		}
	}
	switch in.method {
	case "OPTIONS":
		in.capabilities()
	case "INVITE":
		c.onReinvite(side, in)
	default:
		c.relay(side, in)
	}
}

// keepEnded is how long the record of an ended call is kept.
const keepEnded = 10 * time.Minute

// finish forgets a call that has ended and tells everybody.
func (c *call) finish(end store.End) {
	if c.state() == store.Terminated {
		return
	}
	if end.At.IsZero() {
		end.At = time.Now()
	}
	c.set(func(rec *record) {
		rec.State = store.Terminated
		rec.End = end
	})
	c.unwind()
	for _, side := range store.Sides {
		c.free(side)
	}
	c.linger()
	c.stopTransits()
	c.agent.remove(c)
	c.agent.ended.add(c)
	if c.stored {
		c.agent.store.Finish(c.snapshot(), keepEnded)
		c.stored = false
	}
	c.agent.observer.Ended(c.snapshot())
}
