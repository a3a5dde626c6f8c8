package b2bua_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sipvigil/b2bua"
	"sipvigil/b2bua/dialog"
	"sipvigil/store"
)

// remembered is a call as the store gives it back, with the phones' dialogs
// set up to match.
func (w *world) remembered(state store.State) store.Call {
	const id = "01890a5d-ac96-774b-bcce-b302099a8057"
	key := []byte("0123456789abcdef0123456789abcdef")
	alice, bob := w.alice, w.bob
	alice.remoteTag, alice.target = dialog.MintTag(key, id, store.Caller), "sip:bob@"+agentAddr
	bob.remoteTag, bob.target = dialog.MintTag(key, id, store.Callee), "sip:alice@"+agentAddr
	bob.callID, bob.uri, bob.from = "callee-id", alice.from, alice.uri
	alice.cseq = 5
	leg := func(p *phone, mark, remote uint32) store.Leg {
		return store.Leg{Dialog: store.Dialog{
			CallID: p.callID, LocalTag: p.remoteTag, RemoteTag: p.tag, LocalURI: p.uri, RemoteURI: p.from,
			Target: fmt.Sprintf("sip:%s@%s", p.user, p.host.Addr), Transport: "udp", Peer: p.host.Addr.String(),
			Listener: agentAddr, LocalMark: mark, RemoteCSeq: remote,
		}}
	}
	w.id = id
	rec := store.Call{ID: id, State: state, Node: "edge-0", Epoch: 3, Started: time.Now(), Answered: time.Now(),
		Legs: [2]store.Leg{leg(alice, 32, 5), leg(bob, 160, 100)}}
	if state == store.Ending {
		rec.End = store.End{Reason: "callee-silent", Status: 408, At: time.Now()}
	}
	return rec
}

func (w *world) restore(calls ...store.Call) {
	w.Helper()
	if err := w.agent.Restore(w.Context(), calls); err != nil {
		w.Fatal(err)
	}
	w.agent.Loaded()
}

func TestNumbersJumpAndAreReservedBeforeARestoredCallIsUsed(t *testing.T) {
	idleWorld(t, func(w *world) {
		w.serve()
		w.store.held = true
		rec := w.remembered(store.Confirmed)
		done := make(chan error, 1)
		go func() { done <- w.agent.Restore(w.Context(), []store.Call{rec}) }()
		synctest.Wait()
		w.heard() // not confirmed yet
		if want := []string{"caller 4144", "callee 4272"}; !slices.Equal(w.store.marks, want) {
			w.Errorf("reserved %q, want %q", w.store.marks, want)
		}
		w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Second)
		w.heard("probe callee OPTIONS: deferred")
		w.bob.nothing()
		w.store.cover()
		if err := <-done; err != nil {
			w.Fatal(err)
		}
		w.heard("confirmed")
		if got := w.store.saved[w.id]; got.Epoch != 7 || got.Node != "edge-1" {
			w.Errorf("saved under epoch %d of %s", got.Epoch, got.Node)
		}
		w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Second)
		m := w.bob.next("OPTIONS")
		same(w.T, m.Get("CSeq")+" "+m.ToTag()+" "+m.FromTag(), fmt.Sprintf("%d OPTIONS bob-tag %s", 160+dialog.Jump+1, w.bob.remoteTag))
		w.bob.respond(m, 200, "")
		w.heard("probe callee OPTIONS: answered 200 after 0s")
		w.restore(rec) // once more: nothing happens
		w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Second)
		same(w.T, w.bob.next("OPTIONS").Get("CSeq"), fmt.Sprintf("%d OPTIONS", 160+dialog.Jump+2))
		w.heard()
	})
}

func TestRestoreEndsWithItsContext(t *testing.T) {
	idleWorld(t, func(w *world) {
		w.serve()
		w.store.held = true
		ctx, cancel := context.WithTimeout(w.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		err := w.agent.Restore(ctx, []store.Call{w.remembered(store.Confirmed)})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 5*time.Second {
			w.Errorf("after %v: %v", time.Since(start), err)
		}
		w.store.cover()
	})
}

func TestNobodyWaitsForTheNumbersOfACallThatIsDropped(t *testing.T) {
	idleWorld(t, func(w *world) {
		w.serve()
		w.store.held = true
		done := make(chan error, 1)
		go func() { done <- w.agent.Restore(w.Context(), []store.Call{w.remembered(store.Confirmed)}) }()
		synctest.Wait()
		w.agent.Drop(w.id) // another owner has it, and the store covers nothing of it for us
		if err := <-done; err != nil {
			w.Error(err)
		}
		w.heard()
		w.store.cover()
	})
}

func TestAByeOfAPhoneEndsARestoredCall(t *testing.T) {
	idleWorld(t, func(w *world) {
		w.serve()
		w.restore(w.remembered(store.Confirmed))
		w.alice.request("BYE", "")
		w.alice.next("200 BYE")
		bye := w.bob.next("BYE")
		same(w.T, bye.Get("CSeq"), fmt.Sprintf("%d BYE", 160+dialog.Jump+1))
		w.bob.respond(bye, 200, "")
		w.heard("confirmed", "ending caller-bye", "ended caller-bye confirmed/confirmed")
	})
}

func TestAByeBeforeARestoredCallHasNumbersReachesTheOtherPhone(t *testing.T) {
	hangUps := map[string]func(w *world){
		"caller-bye": func(w *world) { w.alice.request("BYE", ""); w.alice.next("200 BYE") },
		"operator":   func(w *world) { w.agent.Release(w.id, store.End{Reason: store.Operator}) },
	}
	for why, hangUp := range hangUps {
		idleWorld(t, func(w *world) {
			w.serve()
			w.store.held = true
			done := make(chan error, 1)
			go func() { done <- w.agent.Restore(w.Context(), []store.Call{w.remembered(store.Confirmed)}) }()
			synctest.Wait()
			hangUp(w)
			w.heard("ending " + why)
			w.bob.nothing() // its number might be one that was used
			w.store.cover()
			if err := <-done; err != nil {
				w.Fatal(err)
			}
			bye := w.bob.next("BYE")
			same(w.T, bye.Get("CSeq"), fmt.Sprintf("%d BYE", 160+dialog.Jump+1))
			w.bob.respond(bye, 200, "")
			if m := w.alice.poll(); m != nil {
				w.alice.respond(m, 200, "")
			}
			w.heard("confirmed", "ending "+why, "ended "+why+" confirmed/confirmed")
		})
	}
}

func TestACallThatEndedBeforeItHadNumbersIsNotRestoredAgain(t *testing.T) {
	idleWorld(t, func(w *world) {
		w.serve()
		w.store.held = true
		rec := w.remembered(store.Confirmed)
		ctx, cancel := context.WithTimeout(w.Context(), 5*time.Second)
		defer cancel()
		if err := w.agent.Restore(ctx, []store.Call{rec}); err == nil {
			w.Error("restored without numbers")
		}
		for _, p := range []*phone{w.alice, w.bob} {
			p.cseq += 100
			p.request("BYE", "")
			p.next("200 BYE")
		}
		w.heard("ending caller-bye", "ended caller-bye confirmed/confirmed")
		w.store.cover()
		w.restore(rec) // whoever adopted it tries again
		w.heard()
		if _, ok := w.agent.Call(w.id); ok {
			w.Error("the call is there again")
		}
	})
}

func TestA2xxToAnInviteOfTheRunBeforeIsAcknowledged(t *testing.T) {
	idleWorld(t, func(w *world) {
		w.serve()
		w.restore(w.remembered(store.Confirmed))
		accept := func(cseq string) {
			bob := w.bob
			bob.say(text(answer, "SIP/2.0 200 OK", "Via: SIP/2.0/UDP "+agentAddr+";branch=z9hG4bK-of-the-run-before",
				"From: "+tagged(bob.uri, bob.remoteTag), "To: "+tagged(bob.from, bob.tag), "Call-ID: "+bob.callID, "CSeq: "+cseq,
				"Contact: <sip:bob@"+bobAddr+">", "Content-Type: application/sdp"))
		}
		for range 2 { // it is repeated while its ACK is lost
			accept("33 INVITE")
			ack := w.bob.next("ACK")
			same(w.T, ack.Get("CSeq")+" "+ack.ToTag()+" "+ack.RequestURI, "33 ACK bob-tag sip:bob@"+bobAddr)
		}
		accept("33 UPDATE")
		w.bob.nothing()
		w.alice.nothing()
		w.heard("confirmed", "evidence callee: late 200 INVITE", "evidence callee: late 200 INVITE", "evidence callee: late 200 UPDATE")
	})
}

func TestACallThatWasEndingIsReleasedOnceWeServe(t *testing.T) {
	idleWorld(t, func(w *world) {
		rec := w.remembered(store.Ending)
		rec.End.Released[store.Caller] = store.ReleaseConfirmed
		w.restore(rec)
		w.heard("confirmed", "ending callee-silent(408)")
		w.serve()
		bye := w.bob.next("BYE")
		same(w.T, bye.Get("Reason"), `SIP;cause=408;text="No answer inside the dialog", Q.850;cause=102`)
		w.alice.nothing()
		w.bob.respond(bye, 481, "")
		w.heard("ended callee-silent(408) confirmed/already-gone")
	})
}

func TestADroppedCallSaysNoMoreWords(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.agent.Drop(w.id)
		w.agent.Drop(w.id)
		w.alice.request("BYE", "")
		w.alice.next("481 BYE")
		pass(time.Minute)
		w.bob.nothing()
		w.heard()
		if len(w.store.finished) != 0 {
			w.Error("a dropped call was finished in the store")
		}
	})
}

func TestA500ToTheFirstRequestAfterATakeoverJumpsOnceMore(t *testing.T) {
	ask := func(w *world, status int, cseq uint32) {
		w.Helper()
		w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Second)
		m := w.bob.next("OPTIONS")
		same(w.T, m.Get("CSeq"), fmt.Sprintf("%d OPTIONS", cseq))
		w.bob.respond(m, status, "")
		synctest.Wait()
	}
	const first = 160 + dialog.Jump + 1
	idleWorld(t, func(w *world) {
		w.serve()
		w.restore(w.remembered(store.Confirmed))
		w.store.marks = nil
		ask(w, 500, first)
		ask(w, 500, first+dialog.Jump) // once only: more says that CSeq is not the matter
		ask(w, 200, first+dialog.Jump+1)
		if want := []string{"callee 8368"}; !slices.Equal(w.store.marks, want) {
			w.Errorf("reserved %q, want %q", w.store.marks, want)
		}
		w.alice.request("BYE", "") // the caller's leg has numbers of its own
		w.alice.next("200 BYE")
		w.bob.respond(w.bob.next("BYE"), 200, "")
	})
	idleWorld(t, func(w *world) { // not after an answer
		w.serve()
		w.restore(w.remembered(store.Confirmed))
		ask(w, 200, first)
		ask(w, 500, first+1)
		ask(w, 200, first+2)
	})
	idleWorld(t, func(w *world) { // what a phone sends
		w.serve()
		w.restore(w.remembered(store.Confirmed))
		for i := range uint32(2) {
			w.alice.request("INVITE", offer, "Content-Type: application/sdp")
			w.alice.next("100 INVITE")
			m := w.bob.next("INVITE")
			same(w.T, m.Get("CSeq"), fmt.Sprintf("%d INVITE", first+i*dialog.Jump))
			w.bob.respond(m, 500, "")
			w.bob.next("ACK")
			w.alice.next("500 INVITE")
			w.alice.say(w.alice.build("ACK", w.alice.cseq, ""))
		}
	})
	idleWorld(t, func(w *world) { // a BYE is sent again
		w.serve()
		w.restore(w.remembered(store.Confirmed))
		w.agent.Release(w.id, store.End{Reason: store.Operator})
		w.alice.respond(w.alice.next("BYE"), 200, "")
		w.bob.respond(w.bob.next("BYE"), 500, "")
		bye := w.bob.next("BYE")
		same(w.T, bye.Get("CSeq"), fmt.Sprintf("%d BYE", first+dialog.Jump))
		w.bob.respond(bye, 200, "")
		w.heard("confirmed", "ending operator", "ended operator confirmed/confirmed")
	})
}

func TestNothingIsSentInsideACallThatAFailoverMayStillTakeBack(t *testing.T) {
	var lost []string
	broken := errors.New("no replica has it")
	change := func(c *b2bua.Config) {
		c.Kept = func(_ context.Context, calls []store.Call) ([]string, error) {
			if len(calls) != 1 || calls[0].Leg(store.Callee).LocalAsked != 160+dialog.Jump+dialog.Block {
				t.Errorf("asked for %v", calls)
			}
			return lost, broken
		}
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, change)
		w.agent.Identify(7, []byte("0123456789abcdef0123456789abcdef"))
		w.serve()
		rec := w.remembered(store.Confirmed)
		refused := func(want error) {
			t.Helper()
			if err := w.agent.Restore(t.Context(), []store.Call{rec}); !errors.Is(err, want) {
				t.Errorf("restored: %v", err)
			}
			w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Second)
			w.alice.request("INFO", "")
			w.alice.next("503 INFO")
			w.bob.nothing()
		}
		refused(broken)
		w.obs.heard()
		broken, lost = nil, []string{w.id}
		refused(b2bua.ErrLost)
		w.heard("probe callee OPTIONS: no call")
		lost = nil
		w.restore(rec)
		w.agent.Probe(w.id, store.Callee, "OPTIONS", time.Second)
		w.bob.respond(w.bob.next("OPTIONS"), 200, "")
		w.heard("confirmed", "probe callee OPTIONS: answered 200 after 0s")
	})
}
